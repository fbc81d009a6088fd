"""Tasks: questions asked of trained networks, one file each, and how features are taken."""
