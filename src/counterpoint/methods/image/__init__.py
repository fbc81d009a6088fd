"""Methods that learn representations of images."""
