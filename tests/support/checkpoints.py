"""Checkpoints of small untrained detectors."""

from __future__ import annotations

from pathlib import Path

import torch

from methods.backbones.backbone import load_backbone
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import save_detector
from methods.feature_spec import FeatureLayout
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.detector import HVQTrans
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD

CHANNELS = (64, 64, 128, 256)  # of ResNet-18 at strides 2 to 16
GRIDS = (4, 4, 4, 4)


def recorded() -> dict[str, str]:
    """The backbone that these detectors name: a random ResNet-18."""
    sha256 = load_backbone(BackboneChoice("resnet18", "random")).sha256
    return {"name": "resnet18", "weights": "random", "sha256": sha256, "padding": "timm"}


def small_uniad(file: Path, value_bits: dict[str, int] | None = None) -> Path:
    """Write a UniAD of two categories; returns ``file``."""
    torch.manual_seed(0)
    config = UniADConfig(image_size=64, width=32, heads=4, feedforward=32, neighbour_size=1)
    detector = UniAD(config, FeatureLayout(64, CHANNELS, GRIDS, ("bolt", "cloth")))
    save_detector(file, detector, recorded(), value_bits=value_bits)
    return file


def small_hvq(file: Path, categories: tuple[str, ...] = ("bolt", "cloth"), *, router: bool = True) -> Path:
    """Write an HVQ-Trans whose router, if it has one, always chooses the second category; returns ``file``."""
    torch.manual_seed(0)
    config = HVQTransConfig(image_size=64, width=16, heads=4, feedforward=16, codes=8, layers=2, levels=3)
    detector = HVQTrans(config, FeatureLayout(64, CHANNELS, GRIDS, categories))
    if router:
        detector.router.weight[0, 0] = 1e-9
        detector.router.bias[1] = 1.0  # always the second
    save_detector(file, detector, recorded())
    return file
