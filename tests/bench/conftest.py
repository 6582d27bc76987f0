"""A benchmark of seconds: two small categories, random ResNet-18, a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plan.options import Options
from tests.support.benchmarks import small_for
from tests.support.miniature import write_miniature_folder


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
