"""Claims on training: what papers say of optimizers, batches and messages, whatever the method."""
