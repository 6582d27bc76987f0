"""The backbone in the box: which file, which architecture, by what name it is asked for."""

from __future__ import annotations

from pathlib import Path

FORMULA = "formula"
"""Its name in options and records: ``BACKBONE=formula``."""
ARCHITECTURE = "resnet10t"
"""timm's name of its network."""
STRIDES = (4, 8, 16)
"""Of the features that it was trained for; the file has no later stage."""
FILE = Path(__file__).parents[1] / "formula_backbone" / "weights" / f"{ARCHITECTURE}.safetensors"
"""Weights that ``make backbone`` made, float16; the card beside it says how, on what, and what they are worth."""
