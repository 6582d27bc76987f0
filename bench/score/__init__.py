"""Scores any images with a fitted detector."""
