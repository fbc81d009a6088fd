"""Claims of methods for images."""
