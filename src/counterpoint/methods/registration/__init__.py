"""Methods that learn representations for registration."""
