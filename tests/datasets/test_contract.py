"""Tests that every registered dataset must pass. The registry finds them; a dataset in a layout of its own adds a
miniature to ``LAYOUTS``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datasets.errors import DatasetError
from datasets.index.open_dataset import open_dataset
from datasets.index.registry import known_datasets
from datasets.index.verify import verify
from datasets.samples.images import load_image, load_mask
from datasets.samples.sample import DatasetIndex
from datasets.synthetic import generate
from tests.support.miniature import write_miniature_cifar10, write_miniature_folder, write_miniature_visa
from tests.support.miniature_layouts import (
    write_miniature_3d,
    write_miniature_ad2,
    write_miniature_btad,
    write_miniature_elpv,
    write_miniature_loco,
    write_miniature_real_iad,
)

DATASETS = known_datasets()
LAYOUTS = {
    "btad": write_miniature_btad,
    "elpv": write_miniature_elpv,
    "mvtec_3d_rgb": write_miniature_3d,
    "mvtec_ad2": write_miniature_ad2,
    "mvtec_loco": write_miniature_loco,
    "real_iad": write_miniature_real_iad,
}


def stand_in(name: str, root: Path) -> Path:
    """Write a small stand-in of the dataset in its layout; the MVTec layout is the default."""
    if name == "visa":
        return write_miniature_visa(root, objects=("candle", "pcb1"))
    if name.startswith("cifar10"):
        return write_miniature_cifar10(root)
    if name == "synthetic":
        return generate(root, train=2, good=1, per_defect=1, categories=("oak", "twill"))
    return LAYOUTS.get(name, write_miniature_folder)(root)


@pytest.fixture(params=sorted(DATASETS))
def name(request) -> str:
    return request.param


@pytest.fixture
def index(name, tmp_path) -> DatasetIndex:
    return open_dataset(name, tmp_path, root=stand_in(name, tmp_path / "set"), check_counts=False)


def test_the_index_is_sorted_and_training_images_are_normal(index):
    assert list(index.samples) == sorted(index.samples)
    assert index.categories
    for category in index.categories:
        assert index.split("train", category)
        assert any(sample.is_anomalous for sample in index.split("test", category))
        assert not any(sample.is_anomalous for sample in index.split("train", category))


def test_every_image_and_mask_can_be_read(index):
    for sample in index.samples:
        assert load_image(index.root, sample.path, 32).shape == (32, 32, 3)
        if sample.masks:
            assert load_mask(index.root, sample).any(), sample.path
        assert bool(sample.masks) == (sample.is_anomalous and index.has_masks)


def test_verify_finds_no_fault_in_any_file(index, name):
    """A stand-in lacks categories and images, but each of its files is correct."""
    problems = [problem for problem in verify(index, DATASETS[name]) if problem.severity != "remark"]
    assert [problem for problem in problems if Path(problem.path).suffix] == []


def test_the_description_is_complete(name):
    info = DATASETS[name]
    assert re.fullmatch(r"[a-z0-9_-]+", name)
    assert info.title
    assert info.licence
    assert len(info.instructions) > 20
    assert all(len(counts) == 3 for counts in info.counts.values())
    if not info.synthesised and name != "folder":
        assert info.page.startswith("https://") or (info.archive is not None and info.archive.source)
        assert info.archive is not None or info.commands


def test_a_missing_dataset_says_where_it_is_expected(name, tmp_path, request):
    if DATASETS[name].synthesised:  # the fixture opened it where nothing was
        made = request.getfixturevalue("synthetic_data")
        assert open_dataset(name, made, categories=("oak",)).categories == ("oak",)
        return
    with pytest.raises(DatasetError, match=re.escape(str(tmp_path / "none"))):
        open_dataset(name, tmp_path / "none")
