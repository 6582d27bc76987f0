"""A training of the formula backbone that takes seconds."""

from __future__ import annotations

from rich.console import Console

from methods.formula_backbone.pretrain import Recipe

SMALL = Recipe(classes=6, each=2, size=32, steps=6, batch_size=4, bfloat16=False)
QUIET = Console(quiet=True)
