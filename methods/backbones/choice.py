"""Which frozen backbone with which weights, and where they come from.

Weights come from timm (``pretrained``), from a directory of the user's (``WEIGHTS_DIR``: the file
``<timm name>.safetensors``, never the network), are those in the box (``shipped``: the backbone ``formula``, see
``methods/formula_backbone/``), or are random on explicit request (flagged on every row).

timm has several sets of weights for one model, told apart by a tag (``tf_efficientnet_b4.ns_jft_in1k``), and its own
choice is not the papers'. ``pretrained`` under a name without a tag loads the one that the papers use (``PAPER_TAGS``):
AutoAugment for UniAD's and RLR's EfficientNets, torchvision's for the ResNets of PaDiM and PatchCore. RLR's
alternative is ``wide_resnet50_2.racm_in1k``, to be named with its tag. The name in records is the one that was given;
the hash tells which weights they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.backbones.shipped import ARCHITECTURE, FILE, FORMULA
from results.records.weights import WeightsKind

Padding = Literal["timm", "native"]
FROM_FILE = ("file", "shipped")
"""Kinds of weights that lie in a file, whose hash is theirs."""
PAPER_TAGS = {
    "tf_efficientnet_b4": "aa_in1k",
    "tf_efficientnet_b6": "aa_in1k",
    "resnet18": "tv_in1k",
    "vgg11_bn": "tv_in1k",
    "vgg16": "tv_in1k",
    "wide_resnet50_2": "tv_in1k",
}
"""Tags of the pretrained weights that the methods' papers use, where timm's own choice is another."""


@dataclass(frozen=True)
class BackboneChoice:
    """Which backbone with which weights; small and picklable, so that worker processes can build it.

    Attributes:
        name: timm name, e.g. ``tf_efficientnet_b4``, or with a tag ``tf_efficientnet_b4.ns_jft_in1k``; or ``formula``.
        weights: ``pretrained``, ``file`` or ``random``; ``shipped`` of ``formula``; ``none`` of detectors without a
            backbone.
        weights_dir: Directory of ``<name>.safetensors`` for ``file``.
        padding: ``timm``, or ``native`` as the published EfficientNets have it.
        deepest: Largest stride that is built; a weights file may lack what lies behind it.
    """

    name: str
    weights: WeightsKind
    weights_dir: str = ""
    padding: Padding = "timm"
    deepest: int = 16

    @property
    def file(self) -> Path:
        """The weights file of ``weights="file"``, or the shipped one."""
        return FILE if self.weights == "shipped" else Path(self.weights_dir) / f"{self.name}.safetensors"

    @property
    def architecture(self) -> str:
        """The network's name in timm."""
        return ARCHITECTURE if self.name == FORMULA else self.name

    @property
    def timm_name(self) -> str:
        """What timm is asked for: with the papers' tag where its pretrained weights are wanted without one."""
        return with_paper_tag(self.name) if self.weights == "pretrained" else self.architecture


NO_BACKBONE = BackboneChoice("none", "none")
"""The choice of detectors that read images alone."""


def with_paper_tag(name: str) -> str:
    """A timm name with the tag of the papers' weights, where it has none and there is one."""
    return f"{name}.{PAPER_TAGS[name]}" if name in PAPER_TAGS else name


Normalisation = Literal["backbone", "unit"]
"""How pixels reach the backbone: by the mean and standard deviation of its own training, or merely scaled to [0, 1]."""
