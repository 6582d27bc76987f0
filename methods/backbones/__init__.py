"""Frozen backbones: which networks, which weights, which padding."""
