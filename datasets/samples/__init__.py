"""Samples of a dataset: what they are, how their images are decoded, their fingerprints."""
