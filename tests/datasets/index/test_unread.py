"""Every file below a category is read or listed, and the numbers that are reported are those of the files on disk.

The same holds for copies: the numbers of images with equal files are those of a comparison of every file with every
other one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.index.copies import Copies, copy_problems, count_copies
from datasets.index.mvtec_layout import index_folder
from datasets.index.open_dataset import open_dataset
from datasets.index.problems import IndexingError
from datasets.index.registry import find_dataset, known_datasets
from datasets.index.unread import describe_unread
from datasets.index.verify import verify_root
from datasets.samples.sample import Counts, DatasetIndex
from tests.datasets.test_contract import stand_in
from tests.support.miniature import write_miniature_folder, write_miniature_visa
from tests.support.miniature_layouts import write_miniature_3d, write_miniature_ad2, write_miniature_loco

FOLDER = find_dataset("folder")
WHOLE = Counts(train=4, normal=2, anomalous=4, masks=4)


@pytest.fixture
def root(tmp_path) -> Path:
    return write_miniature_folder(tmp_path / "own", categories=("bolt",))


def move(root: Path, source: str, target: str) -> None:
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    (root / source).rename(root / target)


def reported(root: Path) -> list[tuple[str, str]]:
    return [(problem.path, problem.severity) for problem in verify_root(root, FOLDER)]


def refused(root: Path) -> str:
    with pytest.raises(IndexingError) as caught:
        open_dataset("folder", root, root)
    return str(caught.value)


def test_nested_training_images_are_read_under_their_relative_path(root):
    for number in (1, 2, 3):
        move(root, f"bolt/train/good/00{number}.png", f"bolt/train/good/camera2/may/00{number}.png")
    index = index_folder(root, "own")
    assert index.counts("bolt") == WHOLE
    assert [s.path for s in index.split("train")] == [
        "bolt/train/good/000.png",
        *(f"bolt/train/good/camera2/may/00{number}.png" for number in (1, 2, 3)),
    ]
    assert reported(root) == []


def test_nested_defective_images_have_nested_masks(root):
    move(root, "bolt/test/scratch/001.png", "bolt/test/scratch/camera2/001.png")
    assert "bolt/ground_truth/scratch/camera2/001_mask.png is missing" in refused(root)
    move(root, "bolt/ground_truth/scratch/001_mask.png", "bolt/ground_truth/scratch/camera2/001_mask.png")
    index = index_folder(root, "own")
    assert index.counts("bolt") == WHOLE
    sample = next(s for s in index.samples if "camera2" in s.path)
    assert sample.masks == ("bolt/ground_truth/scratch/camera2/001_mask.png",)
    assert reported(root) == []


def test_a_directory_of_masks_may_belong_to_an_image_or_to_nested_images_but_not_to_both(root):
    shutil.copytree(root / "bolt/test/scratch", root / "bolt/test/scratch/000")
    shutil.copytree(root / "bolt/ground_truth/scratch", root / "bolt/ground_truth/scratch/000")
    assert "bolt/test/scratch/000.png: a directory of images has the same name" in refused(root)


def test_masks_among_the_images_are_not_read_as_images(root):
    shutil.copytree(root / "bolt/ground_truth/scratch", root / "bolt/test/scratch/masks")
    assert index_folder(root, "own").counts("bolt") == WHOLE
    assert reported(root) == [("bolt/test/scratch/masks", "warning")]


def test_jfif_is_read_and_gif_is_listed(root):
    for number, suffix in enumerate((".jfif", ".gif", ".gif")):
        file = root / f"bolt/train/good/00{number}.png"
        Image.open(file).save(file.with_suffix(suffix), format={".jfif": "JPEG", ".gif": "GIF"}[suffix])
        file.unlink()
    assert index_folder(root, "own").counts("bolt") == WHOLE._replace(train=2)
    (problem,) = verify_root(root, FOLDER)
    assert str(problem) == (
        "bolt/train/good: 2 files are not read (001.gif, 002.gif): .gif is not a suffix that is read. "
        "If they are images, save them as PNG."
    )


def test_if_no_image_can_be_read_the_error_says_what_is_there(root):
    for file in (root / "bolt/train/good").iterdir():
        file.rename(file.with_suffix(".gif"))
    text = refused(root)
    assert "bolt/train/good: no training images" in text
    assert "bolt/train/good: 4 files are not read (000.gif, 001.gif, ...)" in text


@pytest.mark.parametrize("name", ["mask", "masks", "gt", "groundtruth", "Ground_Truth", "label", "labels"])
def test_other_names_of_the_directory_of_masks_are_taken_and_said(root, name):
    (root / "bolt/ground_truth").rename(root / "bolt" / name)
    index = index_folder(root, "own")
    assert index.has_masks
    assert index.counts("bolt") == WHOLE
    assert reported(root) == [(f"bolt/{name}", "remark")]


def test_two_possible_directories_of_masks_are_an_error(root):
    shutil.copytree(root / "bolt/ground_truth", root / "bolt/gt")
    (root / "bolt/ground_truth").rename(root / "bolt/masks")
    assert "bolt: masks may be in gt, masks, and it is not known which are right" in refused(root)


def test_beside_ground_truth_another_directory_of_masks_is_listed(root):
    shutil.copytree(root / "bolt/ground_truth", root / "bolt/masks")
    assert index_folder(root, "own").counts("bolt") == WHOLE
    assert reported(root) == [("bolt/masks", "warning")]


def test_unknown_directories_are_named(root):
    shutil.copytree(root / "bolt/train/good", root / "bolt/extra/deep")
    shutil.copytree(root / "bolt/train/good", root / "bolt/validation/good")
    shutil.copytree(root / "bolt/train/good", root / "nut/Train/good")
    (root / "bolt/readme.txt").write_text("x", encoding="utf-8")
    (root / "bolt/test/.DS_Store").write_text("x", encoding="utf-8")
    assert index_folder(root, "own").counts("bolt") == WHOLE
    assert reported(root) == [
        ("bolt", "remark"),
        ("bolt/extra", "warning"),
        ("bolt/test", "remark"),
        ("bolt/validation", "remark"),
        ("nut", "warning"),
    ]


@pytest.mark.parametrize("name", ["good_camera2", "Good 2", "OK-left", "camera2_normal", "normal1"])
def test_a_test_directory_that_sounds_normal_is_a_question(tmp_path, name):
    root = write_miniature_folder(tmp_path, categories=("bolt",), masks=False)
    shutil.copytree(root / "bolt/test/good", root / "bolt/test" / name)
    assert f"Move it to test/good/{name} if they are normal" in refused(root)
    move(root, f"bolt/test/{name}", f"bolt/test/good/{name}")
    assert index_folder(root, "own").counts("bolt") == Counts(4, 4, 4, 0)


@pytest.mark.parametrize("name", ["not_good", "no-ok", "goodyear", "broken"])
def test_a_test_directory_that_sounds_defective_is_one(tmp_path, name):
    root = write_miniature_folder(tmp_path, categories=("bolt",), masks=False)
    shutil.copytree(root / "bolt/test/good", root / "bolt/test" / name)
    assert index_folder(root, "own").counts("bolt") == Counts(4, 2, 6, 0)


def test_masks_show_that_a_directory_is_defective_whatever_its_name(root):
    for parent in ("test", "ground_truth"):
        shutil.copytree(root / f"bolt/{parent}/scratch", root / f"bolt/{parent}/good_side")
    assert index_folder(root, "own").counts("bolt") == Counts(4, 2, 6, 6)


def test_a_test_directory_of_masks_is_a_question(root):
    shutil.copytree(root / "bolt/ground_truth/scratch", root / "bolt/test/gt")
    assert "'gt' sounds like masks" in refused(root)


def test_a_link_whose_target_is_missing_is_listed(root):
    (root / "bolt/train/good/x.png").symlink_to(root / "gone.png")
    (problem,) = verify_root(root, FOLDER)
    assert "x.png): not a file: a link whose target is missing" in str(problem)


def test_a_linked_directory_of_images_is_read_once(root, tmp_path):
    move(root, "bolt/train/good/003.png", "../elsewhere/003.png")
    (root / "bolt/train/good/more").symlink_to(tmp_path / "elsewhere")
    (root / "bolt/train/good/same").symlink_to(tmp_path / "elsewhere")
    (root / "bolt/train/good/more/loop").symlink_to(root)
    for split in ("train", "test", "ground_truth"):
        (root / "bolt" / split / "loop").symlink_to(root / "bolt", target_is_directory=True)
    assert index_folder(root, "own").counts("bolt") == WHOLE
    assert reported(root) == [(f"bolt/{place}", "warning") for place in ("ground_truth", "test", "train", "train/good")]


@pytest.mark.parametrize(
    ("name", "write"),
    [("mvtec_loco", write_miniature_loco), ("mvtec_ad2", write_miniature_ad2), ("mvtec_3d_rgb", write_miniature_3d)],
)
def test_what_a_protocol_does_not_read_is_only_a_remark(tmp_path, name, write):
    index = find_dataset(name).build(write(tmp_path))
    assert index.unread
    assert {unread.severity for unread in index.unread} == {"remark"}
    assert read_or_listed(index) == files_on_disk(index.root)


IN_A_DIRECTORY = ("mpdd", "mvtec_3d_rgb", "mvtec_ad2", "mvtec_loco", "visa")
CASES = [(name, "") for name in sorted(known_datasets())] + [(name, "inner") for name in IN_A_DIRECTORY]


@pytest.mark.parametrize(("name", "inner"), CASES)
def test_of_every_dataset_all_other_files_are_listed(name, inner, tmp_path):
    root = tmp_path / "set"
    home = stand_in(name, root / inner)
    first = find_dataset(name).build(root)
    own = files_on_disk(root)
    places = {"", inner, os.path.relpath(first.root, root)} - {"."}
    for place in places:
        for file in ("notes.txt", "loose.png", "more/0.png", "more/deep/1.gif", "texts/a.txt", ".hidden/x.png"):
            (root / place / file).parent.mkdir(parents=True, exist_ok=True)
            (root / place / file).write_bytes(b"x")
    index = find_dataset(name).build(root)
    assert index.samples == first.samples
    base = root if name.startswith("cifar10") else index.root
    listed = [os.path.relpath(base / file, root) for one in index.unread for file in one.files]
    assert len(set(listed)) == len(listed)
    hidden = {os.path.normpath(Path(place) / ".hidden") for place in places}
    new = {file for file in files_on_disk(root) - own if ".hidden" not in Path(file).parts}
    assert new | hidden <= set(listed)
    assert home.is_relative_to(root)


def test_images_that_the_list_of_visa_does_not_name_are_listed(tmp_path):
    root = write_miniature_visa(tmp_path, objects=("candle",))
    shutil.copy(root / "candle/Data/Images/Normal/0000.JPG", root / "candle/Data/Images/Normal/9999.JPG")
    (unread,) = find_dataset("visa").build(root).unread
    assert unread.files == ("candle/Data/Images/Normal/9999.JPG",)


def test_lines_of_several_categories_are_one_and_those_of_other_categories_are_left_out(tmp_path):
    root = write_miniature_folder(tmp_path, categories=("bolt", "cloth", "nut"))
    for name in ("bolt", "cloth", "nut"):
        shutil.copytree(root / name / "train/good", root / name / "validation/good")
    unread = index_folder(root, "own").unread
    (line,) = describe_unread(unread, ("bolt", "cloth", "nut"), 20)
    assert line.startswith("12 files in validation of 3 categories (bolt, cloth, ...) are not read")
    (line,) = describe_unread(unread, ("nut",), 20)
    assert line.startswith("nut/validation: 4 files are not read")


def files_on_disk(root: Path) -> set[str]:
    return {file.relative_to(root).as_posix() for file in root.rglob("*") if not file.is_dir()}


def read_or_listed(index: DatasetIndex) -> set[str]:
    """Every file that is read or listed; none of them twice."""
    read = [path for sample in index.samples for path in (sample.path, *sample.masks)]
    listed = [file for unread in index.unread for file in unread.files]
    assert len(set(listed)) == len(listed)
    assert not set(read) & set(listed)
    return {*read, *listed}


SUFFIXES = (".png", ".png", ".png", ".jpg", ".jfif", ".gif", ".txt", "")
PLACES = (
    *("train/good", "train/good/a", "train/good/a/b", "train/ok", "train/cut", "test/good", "test/good/a"),
    *("test/cut", "test/cut", "test/cut/a", "test/cut/masks", "test/good_2", "test/not_ok", "test", "train", ""),
    *("ground_truth/cut", "ground_truth/cut/a", "ground_truth/cut/0", "ground_truth/other", "ground_truth/good"),
    *("ground_truth", "masks/cut", "gt/cut", "labels", "validation/good", "extra", "extra/a"),
)
FILES = st.builds(
    lambda category, place, name, suffix: f"{category}/{place}/{name}{suffix}".replace("//", "/"),
    st.sampled_from(("nut", "bolt")),
    st.sampled_from(PLACES),
    st.sampled_from(("0", "1", "2", "0_mask", "1_mask", ".0")),
    st.sampled_from(SUFFIXES),
)


CONTENTS = st.sampled_from((b"", b"a", b"one", b"two", b"three"))


@pytest.mark.parametrize("budget", [60, pytest.param(5_000, marks=pytest.mark.long)])
def test_of_random_trees_every_file_is_read_or_listed_and_the_counts_are_right(budget):
    @settings(
        max_examples=budget,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.dictionaries(FILES, CONTENTS, max_size=24))
    def check(files):
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            first = {"nut/train/good/first.png": b"x", "nut/test/good/first.png": b"y"}
            for name, content in (first | dict(sorted(files.items()))).items():
                # A file has the name of a directory.
                with contextlib.suppress(FileExistsError, IsADirectoryError, NotADirectoryError):
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_bytes(content)
            try:
                index = index_folder(root, "own")
            except IndexingError as error:
                index = cast(DatasetIndex, error.partial)
            assert read_or_listed(index) == files_on_disk(root)
            for category in index.categories:
                assert index.counts(category) == counted_on_disk(root / category, index)
            assert count_copies(index) == copies_on_disk(root, index.categories)
            assert_pairs_name_every_copy(index)
            warned = {one.directory for one in index.unread if one.severity == "warning"}
            if warned:
                assert verify_root(root, FOLDER)

    check()


def images_on_disk(category: Path, parent: str, normal: bool) -> list[Path]:
    """What a literal reading of the rules finds: images below normal and other directories, outside of masks."""
    return [
        file
        for file in (category / parent).rglob("*")
        if file.is_file()
        and file.suffix in (".png", ".jpg", ".jfif")
        and not file.name.startswith(".")
        and len(inner := file.relative_to(category / parent).parts) > 1
        and (inner[0] in ("good", "ok")) == normal
        and "masks" not in inner
    ]


def counted_on_disk(category: Path, index: DatasetIndex) -> Counts:
    masks = {mask for sample in index.split("test", category.name) for mask in sample.masks}
    kinds = (("train", True), ("test", True), ("test", False))
    return Counts(*(len(images_on_disk(category, *kind)) for kind in kinds), len(masks))


def copies_on_disk(root: Path, categories: tuple[str, ...]) -> dict[str, Copies]:
    """The numbers of copies, by comparing every file with every other one."""
    kinds = (("train", True), ("test", True), ("test", False))
    images = [(c, *kind, file) for c in categories for kind in kinds for file in images_on_disk(root / c, *kind)]
    found = {}
    for category in categories:
        numbers = [0, 0, 0, 0]
        for own, split, normal, file in images:
            equal = [o for o in images if o[3] != file and file.read_bytes() == o[3].read_bytes() != b""]
            if own == category:
                numbers[0] += split == "test" and any(other[1] == "train" for other in equal)
                numbers[1] += any(other[2] != normal for other in equal)
                numbers[2] += any(other[0] != own for other in equal)
                numbers[3] += any(other[:3] == (own, split, normal) for other in equal)
        if any(numbers):
            found[category] = Copies(*numbers)
    return found


def assert_pairs_name_every_copy(index: DatasetIndex) -> None:
    """Each pair that is reported is one of equal files, and each image is paired for everything that it counts in."""
    places = {sample.path: (sample.category, sample.split, sample.is_anomalous) for sample in index.samples}
    contents = {path: (index.root / path).read_bytes() for path in places}
    pairs = set()
    for problem in copy_problems(index):
        other = problem.what.removeprefix("is the same file as ").split(", byte for byte: ")[0]
        assert problem.path != other
        assert contents[problem.path] == contents[other]
        for kind, words in enumerate(("in two categories", "in train and test", "one is normal and one anomalous")):
            assert (words in problem.what) == (places[problem.path][kind] != places[other][kind])
        pairs |= {(problem.path, other), (other, problem.path)}
    for path, place in places.items():
        equal = [other for other in places if other != path and contents[other] == contents[path] != b""]
        named = [other for other in equal if (path, other) in pairs]
        for kind in range(3):
            differs = [other for other in equal if places[other][kind] != place[kind]]
            assert bool(differs) == any(places[other][kind] != place[kind] for other in named)
        assert any(places[other] == place for other in equal) == any(places[other] == place for other in named)
