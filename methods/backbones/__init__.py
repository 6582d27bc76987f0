"""Frozen backbones: their networks, weights and padding."""
