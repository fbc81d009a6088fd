"""The one training loop, its optimizers, checkpoints and run folder."""
