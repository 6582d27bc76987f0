"""Parts that several detectors are built from."""
