"""Published ways to learn: one file a method, in the folder of its field."""
