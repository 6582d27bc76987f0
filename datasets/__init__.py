"""Datasets: sorted indices of samples, decoding, verification, download, and a synthetic dataset."""

UNIBOARD = True
"""Distinguishes this package from Hugging Face's ``datasets``: see ``bench/__init__.py``."""
