"""Published procedures without a training loss: one file a procedure, in the folder of its field."""
