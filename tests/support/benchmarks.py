"""A benchmark of seconds: small methods, a few steps."""

from __future__ import annotations

SMALL = ("uniad.steps=3", "uniad.image_size=64", "uniad.neighbour_size=1", "uniad.width=32", "uniad.feedforward=32")
SMALL += ("padim.image_size=64", "padim.channels=12", "patchcore.image_size=64", "patchcore.target_width=32")
SMALL += ("patchcore.tap_width=32", "hvq_trans.steps=3", "hvq_trans.image_size=64", "hvq_trans.width=16")
SMALL += ("hvq_trans.feedforward=32",)


def small_for(methods: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(a for a in SMALL if a.split(".")[0] in methods)
