"""Feature banks whose passes through the backbone are counted."""

from __future__ import annotations

from pathlib import Path

from datasets.samples.sample import DatasetIndex
from methods.backbones.backbone import Backbone
from methods.features.bank import BankSettings, FeatureBank


class Counting:
    """Gives the backbone and counts how often it is asked for."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.made = 0

    def __call__(self) -> Backbone:
        self.made += 1
        return self.backbone


def bank(index: DatasetIndex, backbone: Backbone, directory: Path, **settings) -> tuple[FeatureBank, Counting]:
    maker = Counting(backbone)
    return FeatureBank(index, maker, backbone.identity(), BankSettings(directory, **settings)), maker
