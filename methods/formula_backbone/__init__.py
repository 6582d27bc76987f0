"""A small backbone, trained on images that formulas make, whose useful features need no download."""
