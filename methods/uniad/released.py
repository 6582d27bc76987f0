"""The form of the checkpoints that UniAD's authors publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods.released_form import ReleasedForm, Shapes


def _sizes_of(shapes: Shapes, changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    fields = transformer_sizes(shapes, changes, "input_proj.weight", "transformer.encoder.layers.")
    fields["encoder_layers"] = shapes.count("transformer.encoder.layers.", 4)
    fields["decoder_layers"] = shapes.count("transformer.decoder.layers.", 4)
    return fields, (shapes.side("input_proj.weight", 1, 272),)


def transformer_sizes(shapes: Shapes, changes: Mapping[str, Any], projection: str, layers: str) -> dict[str, Any]:
    """The sizes that UniAD and HVQ-Trans have in common. The stride of the token grid is the deepest stride.

    Args:
        shapes: Shapes of the file's tensors.
        changes: Fields of the configuration that the user gives.
        projection: Name of the weight that projects the features to tokens.
        layers: Prefix of the encoder's layers.
    """
    grid = shapes.side("pos_embed.row_embed.weight", 0, 14)
    return {
        "image_size": grid * max(changes.get("strides", (16,))),
        "width": shapes.side(projection, 0, 256),
        "feedforward": shapes.side(f"{layers}0.linear1.weight", 0, 1024),
    }


RELEASED = ReleasedForm(_sizes_of, part="reconstruction.", backbone=("backbone.",), native_padding=True)
