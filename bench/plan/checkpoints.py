"""A detector from a file instead of a training: which backbone it needs, and whether it fits what it is used for."""

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
"""What stands in a record in place of a preset: nothing is known of the training."""
PADDINGS = ("timm", "native")


def read_checkpoint_file(
    file: Path, methods: Sequence[str], categories: tuple[str, ...], assignments: Sequence[str]
) -> Checkpoint:
    """Open a checkpoint as the command line names it.

    Args:
        file: The file.
        methods: None or one; none where the file says it.
        categories: Names of a published checkpoint's categories.
        assignments: ``method.field=value``.

    Raises:
        OptionError: For several methods.
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
    """The backbone to use: the checkpoint's own, but what the user names.

    Args:
        checkpoint: Opened.
        name: timm name, or empty.
        weights: A kind of ``bench/plan/weights_and_textures.py``, or empty.
        weights_dir: Directory of weights files.
        padding: ``timm``, ``native`` or empty.

    Raises:
        UnknownNameError: For other words.
        OptionError: For words that do not go together.
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
    """Raise an ``UnknownNameError`` for another word than ``PADDINGS`` or none."""
    if padding and padding not in PADDINGS:
        raise unknown_name("backbone_padding", padding, PADDINGS)
