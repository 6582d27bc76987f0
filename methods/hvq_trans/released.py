"""The form of the checkpoints that HVQ-Trans's authors publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods.released_form import ReleasedForm, Shapes
from methods.uniad.released import transformer_sizes


def _sizes_of(shapes: Shapes, changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    fields = transformer_sizes(shapes, changes, "quantize_conv_t.weight", "encoder.layers.")
    fields["layers"] = shapes.count("encoder.layers.", 4)
    fields["levels"] = len({name.partition(".")[0] for name in shapes.shapes if name.startswith("quantize_list_")}) or 5
    fields["codes"] = shapes.side(f"quantize_list_{fields['layers'] + 1}.0.embed", 1, 512)
    return fields, (shapes.side("quantize_conv_t.weight", 1, 272),)


RELEASED = ReleasedForm(
    _sizes_of, backbone=("enc.",), own=("router.",), categories="output_proj_list.", native_padding=True
)
