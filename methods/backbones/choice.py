"""The choice of a frozen backbone, its weights and its padding.

There are four kinds of weights: timm's (``pretrained``); those of a user's directory ``WEIGHTS_DIR`` (``file``: the
file is ``<timm name>.safetensors`` or ``<timm name>.pth``; nothing is downloaded); those of EfficientNet-Lite0, which
an installed package has (``packaged``, see ``packaged.py``); and random ones on explicit request (``random``, flagged
on every row).

timm has several sets of weights for one model and distinguishes them by a tag (``tf_efficientnet_b4.ns_jft_in1k``).
Its default is not the papers' choice. ``pretrained`` under a name without a tag loads the set that the papers use
(``PAPER_TAGS``): AutoAugment for UniAD's and RLR's EfficientNets, torchvision's for the ResNets of PaDiM and PatchCore.
RLR's alternative is ``wide_resnet50_2.racm_in1k``, which must be named with its tag. Records have the name as the user
gave it; their hash identifies the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.backbones.packaged import packaged_file
from results.records.weights import WeightsKind

Padding = Literal["timm", "native"]
FROM_FILE = ("file", "packaged")
"""Kinds of weights that are stored in a file; the hash of the file is the hash of the weights."""
PAPER_TAGS = {
    "tf_efficientnet_b4": "aa_in1k",
    "tf_efficientnet_b6": "aa_in1k",
    "resnet18": "tv_in1k",
    "vgg11_bn": "tv_in1k",
    "vgg16": "tv_in1k",
    "wide_resnet50_2": "tv_in1k",
}
"""Tags of the pretrained weights that the methods' papers use, for models where timm's default is different."""


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone and its weights. The object is small and picklable, so that worker processes can build the backbone.

    Attributes:
        name: timm name, e.g. ``tf_efficientnet_b4``, or with a tag ``tf_efficientnet_b4.ns_jft_in1k``.
        weights: ``pretrained``, ``file`` or ``random``; ``packaged`` for ``tf_efficientnet_lite0``; ``none`` for
            detectors without a backbone.
        weights_dir: Directory that has ``<name>.safetensors`` or ``<name>.pth``, for ``file``.
        padding: ``timm``, or ``native`` for that of the published EfficientNets.
        deepest: Largest stride that is built; a weights file may lack the later stages.
    """

    name: str
    weights: WeightsKind
    weights_dir: str = ""
    padding: Padding = "timm"
    deepest: int = 16

    @property
    def file(self) -> Path:
        """The weights file of ``weights="file"``, or the packaged one; a .pth file only without a .safetensors file.

        Raises:
            BackboneError: If the package of ``packaged`` weights is not installed.
        """
        if self.weights == "packaged":
            return packaged_file()
        file = Path(self.weights_dir) / f"{self.name}.safetensors"
        other = file.with_name(f"{self.name}.pth")
        return other if other.is_file() and not file.is_file() else file

    @property
    def timm_name(self) -> str:
        """The name under which timm builds the network; for ``pretrained`` without a tag, with the papers' tag."""
        return with_paper_tag(self.name) if self.weights == "pretrained" else self.name


NO_BACKBONE = BackboneChoice("none", "none")
"""The choice of detectors that read only images."""


def with_paper_tag(name: str) -> str:
    """A timm name with the tag of the papers' weights, if it has no tag and ``PAPER_TAGS`` has one for it."""
    return f"{name}.{PAPER_TAGS[name]}" if name in PAPER_TAGS else name


Normalisation = Literal["backbone", "unit"]
"""Normalisation of a backbone's input: by mean and standard deviation of its training, or only scaling to [0, 1]."""
