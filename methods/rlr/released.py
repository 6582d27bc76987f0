"""The form of the checkpoints that RLR's authors publish."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from methods.errors import CheckpointError
from methods.released_form import ReleasedForm, Shapes

_PAPER_WINDOWS = {16: 5, 32: 7, 64: 11}
"""Side of the local window by side of the token grid."""


def _sizes_of(shapes: Shapes, changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    levels = range(shapes.count("levels.", 2))
    widths = tuple(shapes.side(f"levels.{i}.projection.weight", 1, 256 << i) for i in levels)
    embedding = "embedding.project_embedding.project.weight"
    channels = tuple(
        shapes.side(f"levels.{i}.projection.weight", 0, shapes.side(f"levels.{i}.{embedding}", 1, 1)) for i in levels
    )
    strides = tuple(changes.get("strides", (width // 32 for width in widths)))
    if len(strides) != len(levels) or any(stride not in (4, 8, 16) for stride in strides):
        raise CheckpointError(
            f"{shapes.file}: the widths {_listed(widths)} of the levels belong to no known strides (in the paper they "
            "are 32 times the stride). Give the strides with --set rlr.strides=..."
        )
    references = int(changes.get("reference_length", 1))
    paper_tokens = [references * (256 // stride) ** 2 for stride in strides]
    tokens = [shapes.side(f"levels.{i}.ref_mca", 1, paper_tokens[i]) // references for i in levels]
    grids = tuple(math.isqrt(count) for count in tokens)
    sides = {grid * stride for grid, stride in zip(grids, strides, strict=True)}
    if [grid**2 for grid in grids] != tokens or len(sides) > 1:
        raise CheckpointError(
            f"{shapes.file}: levels of {_listed(tokens)} tokens (ref_mca) at strides {_listed(strides)} do not belong "
            "to one square image."
        )
    if "windows" not in changes and any(grid not in _PAPER_WINDOWS for grid in grids):
        raise CheckpointError(
            f"{shapes.file}: the paper gives no local window for grids of {_listed(grids)} tokens a side. Give the "
            "windows with --set rlr.windows=..."
        )
    fields: dict[str, Any] = {
        "image_size": sides.pop(),
        "strides": strides,
        "widths": widths,
        "layers": shapes.count("levels.0.encoder.encode_layers.", 4),
        "mlp_ratio": shapes.side("levels.0.encoder.encode_layers.0.ffn.fc1.weight", 0, 4 * widths[0]) // widths[0],
    }
    if "windows" not in changes:
        fields["windows"] = tuple(_PAPER_WINDOWS[grid] for grid in grids)
    return fields, channels


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


RELEASED = ReleasedForm(_sizes_of, per_level=True)
