"""Directories of textures: every file is read or listed, and 16-bit files are scaled by the rule of the datasets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.index.availability import check
from datasets.index.image_directory import read_image_directory
from datasets.index.registry import known_data

DTD = known_data()["dtd"]


@pytest.fixture
def root(tmp_path):
    """A directory as the published archive leaves it, with more that a user or a system has put there."""
    for name in ("dtd/images/banded/0.png", "dtd/images/b.png", "top.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    others = (
        "dtd/imdb/imdb.mat",
        "dtd/labels/deep/test1.txt",
        "dtd-r1.0.1.tar.gz",
        "dtd/images/x.gif",
        ".unpacking/y.png",
    )
    for name in (*others, "uniboard-manifest.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "dtd/images/gone.png").symlink_to(tmp_path / "nowhere.png")
    return tmp_path


def test_every_file_is_read_or_listed_with_its_reason(root):
    found = read_image_directory(root)
    assert found.images == ("dtd/images/b.png", "dtd/images/banded/0.png", "top.jpg")
    assert [(one.directory, one.why) for one in found.unread] == [
        (".", "archives are not read"),
        (".", "hidden files and directories are not read"),
        ("dtd/images", ".gif is not a suffix that is read"),
        ("dtd/images", "not a file: a link whose target is missing, or a device"),
        ("dtd/imdb", "it holds no images"),
        ("dtd/labels", "it holds no images"),
    ]
    assert {file: one.severity for one in found.unread for file in one.files} == {
        ".unpacking": "remark",
        "dtd-r1.0.1.tar.gz": "remark",
        "dtd/imdb/imdb.mat": "remark",
        "dtd/labels/deep/test1.txt": "remark",
        "dtd/images/gone.png": "warning",
        "dtd/images/x.gif": "warning",
    }


def test_the_published_directory_has_only_remarks_and_a_lost_texture_is_a_problem(root):
    for name in ("x.gif", "gone.png"):
        (root / "dtd/images" / name).unlink()
    seen, problems = check(DTD, root)
    assert seen == 3
    assert {problem.severity for problem in problems} == {"remark"}
    (root / "dtd/images/b.png").rename(root / "dtd/images/b.gif")
    _, problems = check(DTD, root)
    assert [str(problem) for problem in problems if problem.severity != "remark"] == [
        "dtd/images: 1 file is not read (b.gif): .gif is not a suffix that is read. If they are images, save them as "
        "PNG."
    ]


def test_a_directory_without_images_and_a_missing_one_say_what_is_expected(tmp_path):
    (tmp_path / "readme.txt").write_text("x", encoding="utf-8")
    _, (remark, problem) = check(DTD, tmp_path)
    assert remark.severity == "remark"
    assert str(problem).startswith(".: no image is there. The Describable Textures Dataset is fetched")
    _, (problem,) = check(DTD, tmp_path / "none")
    assert "can't be listed (No such file or directory)" in str(problem)
    with pytest.raises(DatasetError, match="can't be listed"):
        read_image_directory(tmp_path / "none")


@pytest.mark.parametrize(("peak", "bits"), [(255, 8), (4095, 12), (16383, 14), (65535, 16)])
def test_one_range_holds_the_values_of_all_images(tmp_path, peak, bits):
    Image.fromarray(np.full((4, 4), peak, np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 4), 100, np.uint16)).save(tmp_path / "b.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "c.png")
    found = read_image_directory(tmp_path)
    assert found.value_bits() == bits
    assert found.range_remark() == f"16-bit files are scaled from {bits} bits (0 to {(1 << bits) - 1})."
    for name in ("a.png", "b.png"):
        (tmp_path / name).unlink()
    assert read_image_directory(tmp_path).value_bits() is None
    assert read_image_directory(tmp_path).range_remark() == ""
