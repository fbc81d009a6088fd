"""What stands on disk: images, pairs of images, and the batches made from them."""
