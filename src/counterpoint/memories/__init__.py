"""What survives a step without a gradient; all state stands in buffers."""
