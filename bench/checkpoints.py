"""A detector from a file instead of a training: which backbone it needs, and whether it fits what it is used for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor

from bench.configuration import parse_overrides, typed_overrides
from bench.errors import OptionError
from bench.weights import weights_of
from datasets.errors import unknown_name
from methods.backbones.backbone import AnyBackbone
from methods.backbones.choice import NO_BACKBONE, BackboneChoice, Padding
from methods.checkpoints.checkpoint import Checkpoint, method_of, open_checkpoint
from methods.detector import Detector
from methods.errors import CheckpointError
from methods.registry import find_detector

PRESET = "checkpoint"
"""What stands in a record in place of a preset: nothing is known of the training."""
PADDINGS = ("timm", "native")


@runtime_checkable
class ChoosesCategory(Protocol):
    """A class-aware detector that can also find an image's category by itself."""

    def choose_categories(self, features: Tensor) -> tuple[tuple[str, ...], str]:
        """A category for each of (B, C, h, w) features, and how it was chosen."""


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
        OptionError: For several methods, or none where one is needed.
        UniBoardError: If the file can't be used.
    """
    if len(methods) > 1:
        raise OptionError(f"A checkpoint holds one method; {', '.join(methods)} are {len(methods)}.")
    method = methods[0] if methods else method_of(file)
    if not method:
        raise OptionError(f"{file}: not a file of this project. Name its method: uniad, hvq_trans or rlr.")
    cls = find_detector(method)
    texts = parse_overrides(list(assignments), [method]).get(method, {})
    return open_checkpoint(file, method, categories, typed_overrides(cls, texts))


def backbone_choice(
    checkpoint: Checkpoint, name: str, weights: str, weights_dir: Path | None, padding: str
) -> BackboneChoice:
    """The backbone to use: the checkpoint's own, but what the user names.

    Args:
        checkpoint: Opened.
        name: timm name, or empty.
        weights: A kind of ``bench/weights.py``, or empty.
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


def remarks_on(checkpoint: Checkpoint, backbone: AnyBackbone, *, named: bool) -> tuple[str, ...]:
    """What must be said of using the checkpoint with this backbone, in short sentences without a full stop.

    Args:
        checkpoint: Opened.
        backbone: Chosen.
        named: The user named the backbone: then one with other weights is used, and said.

    Raises:
        CheckpointError: If the weights are not those that the file records, and the user did not name the backbone.
    """
    recorded, choice = checkpoint.backbone, backbone.choice
    remarks = list(checkpoint.remarks)
    if choice.name != recorded.name:
        remarks.append(f"backbone is {choice.name}, not the checkpoint's ({recorded.name})")
    elif recorded.sha256 and recorded.sha256 != backbone.sha256:
        if not named:
            raise CheckpointError(
                f"{checkpoint.file}: trained on features of {recorded.name} with {recorded.weights} weights "
                f"{recorded.sha256[:12]}, but the {choice.weights} weights here are {backbone.sha256[:12]} (a file has "
                "another hash than the same weights from timm). Give the same with WEIGHTS_DIR=... or WEIGHTS=..., or "
                f"use these all the same with BACKBONE={recorded.name}."
            )
        remarks.append(f"the backbone's weights are not the checkpoint's ({recorded.sha256[:12]})")
    usual = checkpoint.padding_for(choice.name)
    if choice.padding != usual:
        remarks.append(f"backbone padding is {choice.padding}, not the checkpoint's ({usual})")
    return tuple(remarks)


def require_categories(checkpoint: Checkpoint, categories: Sequence[str]) -> None:
    """Raise an ``UnknownNameError`` for a category that a class-aware checkpoint was not trained on."""
    if checkpoint.detector_class.info.class_aware:
        for name in categories:
            if name not in checkpoint.layout.categories:
                raise unknown_name(f"category of {checkpoint.file.name}", name, checkpoint.layout.categories)


def depends_on_category(detector: Detector) -> bool:
    """Whether each image needs a category, be it told or found."""
    return detector.info.class_aware and not getattr(detector.config, "class_agnostic", False)


def scorable(detector: Detector, config: Any) -> bool:
    """Whether a configuration can be scored: one that finds each image's category needs something to find it with.

    A published checkpoint has no router.
    """
    if not depends_on_category(detector) or detector.told_category(config):
        return True
    router = getattr(detector, "router", None)
    return router is None or bool(router.fitted) or len(detector.layout.categories) == 1


def told(config: Any) -> Any:
    """The configuration under which a class-aware detector takes the category that it is told."""
    return dataclasses.replace(config, routing="given") if hasattr(config, "routing") else config
