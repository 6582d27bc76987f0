"""The reader of ELPV: its fixed split, its doubtful labels, and lists that are damaged or hostile."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from datasets.elpv import ARCHIVE, COUNTS, build_elpv
from datasets.errors import DatasetError
from datasets.index.problems import IndexingError
from datasets.index.registry import find_dataset
from datasets.index.verify import verify_root
from datasets.samples.sample import DatasetIndex
from tests.support.miniature_layouts import write_miniature_elpv

PUBLISHED = {"mono": (588, 313, 173), "poly": (920, 402, 228)}
"""Numbers of images with probability 0, 1 and between, counted in the published list."""


@pytest.fixture
def root(tmp_path) -> Path:
    return write_miniature_elpv(tmp_path / "elpv")


@pytest.fixture
def labels(root) -> Path:
    return root / "elpv_dataset/data/labels.csv"


def names(index: DatasetIndex, split: str, category: str, defect: str) -> list[str]:
    return [Path(s.path).name for s in index.split(split, category) if s.defect == defect]


def test_cells_are_split_by_the_hash_of_their_names_and_doubtful_ones_are_left_out(root):
    index = build_elpv(root)
    assert index.categories == ("mono", "poly")
    for category, first in (("mono", 1), ("poly", 10)):
        normal = [f"cell{number:04d}.png" for number in range(first, first + 5)]
        order = sorted(normal, key=lambda name: hashlib.sha256(f"0/{name}".encode()).digest())
        assert names(index, "train", category, "good") == sorted(order[:4])
        assert names(index, "test", category, "good") == order[4:]
        assert names(index, "test", category, "defective") == [f"cell{first + n:04d}.png" for n in (5, 6)]
    doubtful = [one for one in index.unread if "doubtful" in one.why]
    assert [(one.category, one.severity, one.files) for one in doubtful] == [
        ("mono", "remark", ("images/cell0008.png", "images/cell0009.png")),
        ("poly", "remark", ("images/cell0017.png", "images/cell0018.png")),
    ]
    assert not index.has_pixel_labels("mono")


def test_the_order_of_the_lines_does_not_matter(root, labels):
    expected = build_elpv(root).samples
    labels.write_text("".join(reversed(labels.read_text().splitlines(keepends=True))))
    assert build_elpv(root).samples == expected


def test_a_list_as_long_as_the_published_one_gives_the_counts_that_verify_expects(tmp_path):
    home, lines = tmp_path / "elpv_dataset/data", []
    (home / "images").mkdir(parents=True)
    for category, counts in PUBLISHED.items():
        for probability, count in zip(("0.0", "1.0", "0.6666666666666666"), counts, strict=True):
            for _ in range(count):
                path = f"images/cell{len(lines) + 1:04d}.png"
                (home / path).touch()
                lines.append(f"{path} {probability} {category}\n")
    (home / "labels.csv").write_text("".join(lines))
    index = build_elpv(tmp_path)
    assert {category: index.counts(category)[:3] for category in index.categories} == COUNTS
    assert [len(one.files) for one in index.unread if "doubtful" in one.why] == [173, 228]
    digest = hashlib.sha256("".join(s.path for s in index.split("train")).encode()).hexdigest()
    assert digest.startswith("0a0e9d231b763a92"), "another split makes every committed number another one"


def test_the_package_the_repository_and_the_directory_of_the_list_hold_the_same(root, tmp_path):
    index = build_elpv(root)
    shutil.copytree(root / "elpv_dataset", tmp_path / "clone/src/elpv_dataset")
    for other in (build_elpv(tmp_path / "clone"), build_elpv(index.root)):
        assert other.samples == index.samples
        assert other.fingerprint("mono", "test") == index.fingerprint("mono", "test")


def test_verify_takes_a_sound_copy_and_remarks_on_what_is_not_read(root):
    shutil.copy(root / "elpv_dataset/data/images/cell0001.png", root / "elpv_dataset/data/images/more.png")
    problems = verify_root(root, find_dataset("elpv"))
    assert [p.path for p in problems if p.severity != "remark"] == ["mono", "poly"], "the counts of a miniature"
    remarks = " ".join(str(p) for p in problems if p.severity == "remark")
    assert "images: 2 files are not read (cell0008.png, cell0009.png): mono cells with a doubtful label" in remarks
    assert "1 file is not read (more.png): labels.csv does not name it." in remarks
    assert "(METADATA, WHEEL): a part of the package that is not needed." in remarks


WRONG = {
    "images/new.png 1.0": "has 2 columns",
    "images/new.png 1.0 mono x": "has 4 columns",
    "images/new.png,1.0,mono": "has 1 columns",
    "images/new.png 0.5 mono": "the probability is '0.5', not 0, 1/3, 2/3 or 1.",
    "images/new.png nan mono": "the probability is 'nan'",
    "images/new.png 1e400 mono": "the probability is '1e400'",
    "images/new.png -1 mono": "the probability is '-1'",
    "images/new.png high mono": "the probability is 'high'",
    "images/new.png 1.0 Mono": "the type is 'Mono', not mono or poly.",
    "/etc/new.png 1.0 mono": "leads out of the dataset",
    "images/../../new.png 1.0 mono": "leads out of the dataset",
    "c:new.png 1.0 mono": "leads out of the dataset",
    "images\\new.png 1.0 mono": "leads out of the dataset",
    "images/\0.png 1.0 mono": "leads out of the dataset",
    "labels.csv 1.0 mono": "'labels.csv' is not the name of an image.",
    "rows.npy#3 1.0 mono": "is not the name of an image.",
    "images/cell0001.png 1.0 mono": "'images/cell0001.png' is listed twice.",
    "./images//cell0002.png 0.0 poly": "'images/cell0002.png' is listed twice.",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named_with_its_number(root, labels, line):
    expected = build_elpv(root).samples
    labels.write_text(f"{labels.read_text()}\n{line}\n")
    with pytest.raises(IndexingError) as caught:
        build_elpv(root)
    (problem,) = caught.value.problems
    assert problem.path == "labels.csv:20"
    assert WRONG[line] in problem.what
    assert caught.value.partial.samples == expected


def test_all_problems_are_listed_at_once(root, labels):
    labels.write_text(labels.read_text() + "\n".join(WRONG) + f"\nimages/{'a' * 300}.png 0.0 mono\n")
    for name in ("cell0002.png", "cell0008.png"):
        (labels.parent / "images" / name).unlink()
    with pytest.raises(IndexingError) as caught:
        build_elpv(root)
    found = [problem.path for problem in caught.value.problems]
    missing = ["images/" + "a" * 300 + ".png", "images/cell0002.png", "images/cell0008.png"]
    assert found == sorted([*missing, *(f"labels.csv:{19 + number}" for number in range(len(WRONG)))])
    reported = {problem.path for problem in verify_root(root, find_dataset("elpv"))}
    assert set(found) <= reported


def test_a_category_with_too_few_normal_images_is_a_problem(root, labels):
    labels.write_text(labels.read_text().replace("0.0", "1.0", 4))
    with pytest.raises(IndexingError, match=r"lists 1 images of 'mono' with probability 0, too few"):
        build_elpv(root)


@pytest.mark.parametrize("ending", ["\r\n", "\n\n"])
def test_other_line_ends_and_a_byte_order_mark_are_read(root, labels, ending):
    expected = build_elpv(root).samples
    labels.write_bytes(("\ufeff" + labels.read_text().replace("\n", ending)).encode())
    assert build_elpv(root).samples == expected


@pytest.mark.parametrize("kind", ["absent", "pipe", "directory", "empty"])
def test_without_a_list_the_message_says_how_to_get_it(root, labels, kind):
    labels.unlink()
    if kind == "pipe":
        os.mkfifo(labels)
    elif kind == "directory":
        labels.mkdir()
    elif kind == "empty":
        labels.touch()
    with pytest.raises(
        DatasetError, match="lists no image" if kind == "empty" else "is not there.*make data"
    ) as caught:
        build_elpv(root)
    assert str(root) in str(caught.value)
    assert ARCHIVE.file in str(caught.value) or "wheel" in str(caught.value)
