"""Samples of a dataset, the decoding of their images and masks, and their fingerprints."""
