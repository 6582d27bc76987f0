"""Detectors that were made for the separate setting. They run in both."""
