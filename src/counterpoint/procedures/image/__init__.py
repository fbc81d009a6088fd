"""From a set of images to another one, smaller or made anew, on which methods are then trained."""
