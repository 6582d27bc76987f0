"""Opens the checkpoint that a command names, and chooses the backbone for its detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from bench.errors import OptionError
from bench.plan.configuration import parse_overrides, typed_overrides
from bench.plan.weights_and_textures import weights_of
from datasets.errors import unknown_name
from methods.backbones.choice import NO_BACKBONE, BackboneChoice, Padding
from methods.checkpoints.checkpoint import Checkpoint, open_checkpoint
from methods.detector import Detector

PRESET = "checkpoint"
"""The preset in the record of a checkpoint, because nothing is known of its training."""
PADDINGS = ("timm", "native")


def read_checkpoint_file(
    file: Path, methods: Sequence[str], categories: tuple[str, ...], assignments: Sequence[str]
) -> Checkpoint:
    """Open the checkpoint that the command line names.

    Args:
        file: The file.
        methods: The name of the method, or nothing if the file itself names it.
        categories: Names of a published checkpoint's categories.
        assignments: Texts of the form ``method.field=value``.

    Raises:
        OptionError: If several methods are named.
        UniBoardError: If the file can't be used, or its method has to be named.
    """
    if len(methods) > 1:
        raise OptionError(f"A checkpoint holds one method; {', '.join(methods)} are {len(methods)}.")

    def changes(cls: type[Detector]) -> dict[str, Any]:
        return typed_overrides(cls, parse_overrides(list(assignments), [cls.info.name]).get(cls.info.name, {}))

    return open_checkpoint(file, methods[0] if methods else "", categories, changes)


def backbone_choice(
    checkpoint: Checkpoint, name: str, weights: str, weights_dir: Path | None, padding: str
) -> BackboneChoice:
    """The backbone to use: what the user names, and the checkpoint's own for everything else.

    Args:
        checkpoint: The checkpoint.
        name: timm name of the backbone, or empty.
        weights: One of the ``KINDS`` of ``bench/plan/weights_and_textures.py``, or empty.
        weights_dir: Directory of weights files, or None.
        padding: ``timm``, ``native`` or empty.

    Raises:
        UnknownNameError: For another kind of weights or padding.
        OptionError: For options that do not go together.
    """
    require_padding(padding)
    if checkpoint.backbone.weights == "none":
        return NO_BACKBONE
    chosen = name or checkpoint.backbone.name
    kind = weights_of(
        weights, weights_dir, chosen, "random" if checkpoint.backbone.weights == "random" else "pretrained"
    )
    return BackboneChoice(
        chosen,
        kind,
        str(weights_dir) if weights_dir is not None else "",
        cast(Padding, padding) if padding else checkpoint.padding_for(chosen),
        max(checkpoint.detector_class.features(checkpoint.config).deepest, BackboneChoice.deepest),
    )


def require_padding(padding: str) -> None:
    """Raise an ``UnknownNameError`` unless the padding is empty or one of ``PADDINGS``."""
    if padding and padding not in PADDINGS:
        raise unknown_name("backbone_padding", padding, PADDINGS)
