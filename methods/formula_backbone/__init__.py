"""A small backbone that is trained on images that formulas make, so that useful features need no download."""
