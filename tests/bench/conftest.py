"""A benchmark of seconds: two small categories, random ResNet-18, a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.options import Options
from tests.miniature import write_miniature_folder

SMALL = ("uniad.steps=3", "uniad.image_size=64", "uniad.neighbour_size=1", "uniad.width=32", "uniad.feedforward=32")
SMALL += ("padim.image_size=64", "padim.channels=12", "patchcore.image_size=64", "patchcore.target_width=32")
SMALL += ("patchcore.tap_width=32", "hvq_trans.steps=3", "hvq_trans.image_size=64", "hvq_trans.width=16")
SMALL += ("hvq_trans.feedforward=32",)


def small_for(methods: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(a for a in SMALL if a.split(".")[0] in methods)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return write_miniature_folder(tmp_path_factory.mktemp("data") / "folder")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(folder, cache, tmp_path):
    """Makes options for the small benchmark; features are shared by all tests."""

    def make(methods: tuple[str, ...] = ("padim",), **changes) -> Options:
        values = {
            "dataset": "folder",
            "root": folder,
            "methods": methods,
            "seeds": (0,),
            "preset": "quick",
            "weights": "random",
            "backbone": "resnet18",
            "assignments": small_for(methods),
            "results_dir": tmp_path / "runs",
            "cache_dir": cache,
            "threads": 1,
        }
        return Options(**{**values, **changes})

    return make
