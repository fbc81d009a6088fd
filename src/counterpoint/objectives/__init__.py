"""Embeddings → one number: pure functions, the paper's equation in the docstring."""
