"""Batch → views: augmentation and the geometry that undoes it."""
