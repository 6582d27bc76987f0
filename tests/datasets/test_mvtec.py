import pytest

from datasets.download.obtain import obtain
from datasets.errors import DatasetError
from datasets.index.registry import find_dataset
from datasets.mvtec import ARCHIVE, COUNTS, TEXTURES, build_mvtec
from tests.support.miniature import write_miniature_folder


def test_counts_are_the_published_ones():
    info = find_dataset("mvtec")
    assert [sum(column) for column in zip(*info.counts.values(), strict=True)] == [3629, 467, 1258]
    assert len(info.counts) == 15


def test_five_of_the_categories_are_textures():
    assert len(TEXTURES) == 5
    assert set(TEXTURES) < set(COUNTS)


def test_the_index_knows_its_textures(tmp_path):
    index = build_mvtec(write_miniature_folder(tmp_path, categories=("bottle", "carpet")))
    assert index.name == "mvtec"
    assert [category in index.textures for category in index.categories] == [False, True]


def test_the_archive_has_to_be_fetched_by_a_person(tmp_path):
    with pytest.raises(DatasetError, match=r"mvtec_anomaly_detection\.tar\.xz: not there.*mvtec\.com"):
        obtain(ARCHIVE, tmp_path / "mvtec")


def test_another_archive_is_not_unpacked(tmp_path):
    (tmp_path / "mvtec_anomaly_detection.tar.xz").write_bytes(b"something else")
    with pytest.raises(DatasetError, match="not the expected file"):
        obtain(ARCHIVE, tmp_path)
