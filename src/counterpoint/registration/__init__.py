"""From two images to the transform between them, and how sure it is."""
