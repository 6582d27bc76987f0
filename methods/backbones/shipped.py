"""The backbone that is part of this repository: its name, architecture and file of weights."""

from __future__ import annotations

from pathlib import Path

FORMULA = "formula"
"""Its name in options and records: ``BACKBONE=formula``."""
ARCHITECTURE = "resnet10t"
"""timm's name of its network."""
STRIDES = (4, 8, 16)
"""Strides of the features that it was trained for; the file has no later stage."""
FILE = Path(__file__).parents[1] / "formula_backbone" / "weights" / f"{ARCHITECTURE}.safetensors"
"""float16 weights made by ``make backbone``. The card next to the file describes their training and their quality."""
