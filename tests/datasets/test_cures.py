"""Every cure that a message about a dataset prints is tried: what was reported before is not reported after it.

The cures of downloads are tried in ``download/test_cures_of_downloads.py`` and ``tests/bench/commands/test_data.py``,
those of published datasets in ``test_cures_of_published_sets.py``, those of single files in
``samples/test_cures_of_files.py``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.index.mvtec_layout import index_folder
from datasets.index.registry import find_dataset
from datasets.index.unread import describe_unread
from datasets.index.verify import verify_root
from tests.support.miniature import write_miniature_folder

ROOT = Path(__file__).resolve().parents[2]
Step = Callable[[Path], object]


def move(source: str, target: str) -> Step:
    def step(root: Path) -> None:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / source).rename(root / target)

    return step


def copy(source: str, target: str) -> Step:
    def step(root: Path) -> None:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (root / source).is_dir() else shutil.copyfile)(root / source, root / target)

    return step


def away(path: str) -> Step:
    return move(path, f"../away/{path}")


def both(*steps: Step) -> Step:
    return lambda root: [step(root) for step in steps]


def mask(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Step:
    def step(root: Path) -> None:
        file = root / path
        Image.fromarray(change(np.asarray(Image.open(file)))).save(file)

    return step


def deep(pattern: str, factor: int = 257) -> Step:
    """Write images as greyscale of 16 bits."""

    def step(root: Path) -> None:
        for file in sorted(root.glob(pattern)):
            grey = np.asarray(Image.open(file).convert("L"))
            Image.fromarray((grey.astype(np.uint32) * factor).astype(np.uint16)).save(file)

    return step


def saved(path: str, suffix: str, format_: str) -> Step:
    def step(root: Path) -> None:
        Image.open(root / path).save((root / path).with_suffix(suffix), format=format_)
        (root / path).unlink()

    return step


def eight_bits(root: Path) -> None:
    for file in sorted(root.glob("bolt/*/*/*.png")):
        image = Image.open(file)
        if image.mode.startswith("I"):
            Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).save(file)


def half(values: np.ndarray) -> np.ndarray:
    return values[::2, ::2]


def soft(values: np.ndarray) -> np.ndarray:
    ramp = np.linspace(40, 250, values.shape[1]).astype(np.uint8)
    return np.where(values > 0, ramp[None, :], 0).astype(np.uint8)


def nothing(values: np.ndarray) -> np.ndarray:
    return values * 0


T, G, S, M = "bolt/train/good/", "bolt/test/good/", "bolt/test/scratch/", "bolt/ground_truth/scratch/"
ORIGINAL = "../original/"  # a sound copy
RESTORED = both(away(f"{M}000_mask.png"), copy(f"{ORIGINAL}{M}000_mask.png", f"{M}000_mask.png"))
CASES = {
    "a directory beside the categories": (
        both(move("nut/train", "nut/Train"), move("nut/test", "nut/Test")),
        "Check the names of its directories, or move it away.",
        [away("nut"), both(move("nut/Train", "nut/train"), move("nut/Test", "nut/test"))],
    ),
    "an image beside train and test": (
        move(f"{T}000.png", "bolt/000.png"),
        "Move them to train/good or test/<type>.",
        [move("bolt/000.png", f"{T}000.png"), move("bolt/000.png", f"{G}900.png")],
    ),
    "an unknown directory": (
        move("bolt/train/good", "bolt/extra/deep"),
        "Move images that should count to train/good or test/<type>.",
        [move("bolt/extra/deep", "bolt/train/good")],
    ),
    "an unknown directory and no masks": (
        both(move(M, "bolt/defects"), away("bolt/ground_truth")),
        "If they are masks, move them to ground_truth/<type>.",
        [both(move("bolt/defects", M), copy("../away/bolt/ground_truth/stain", "bolt/ground_truth/stain"))],
    ),
    "two directories of masks": (
        both(copy("bolt/ground_truth", "bolt/gt"), move("bolt/ground_truth", "bolt/masks")),
        "Rename the right directory to ground_truth, and move the others away.",
        [both(move("bolt/gt", "bolt/ground_truth"), away("bolt/masks"))],
    ),
    "a directory taken for masks": (
        move("bolt/ground_truth", "bolt/gt"),
        "Move it away if it holds no masks.",
        [away("bolt/gt")],
    ),
    "images directly in test": (
        copy(f"{ORIGINAL}{G}../scratch/000.png", "bolt/test/x.png"),
        "Move them into a directory named after what they show, e.g. test/good.",
        [both(away(f"{S}000.png"), away(f"{M}000_mask.png"), move("bolt/test/x.png", f"{G}x.png"))],
    ),
    "a sub-directory called masks": (
        copy("bolt/ground_truth/scratch", f"{S}masks"),
        "Move masks to ground_truth/<type>, or rename it if it holds images.",
        [both(away("bolt/ground_truth/scratch"), move(f"{S}masks", "bolt/ground_truth/scratch"))],
    ),
    "training images with the name of a defect": (
        both(move(f"{T}000.png", "bolt/train/left/000.png"), move(f"{T}001.png", "bolt/train/left/001.png")),
        "Training images are normal: move normal ones to train/good/left and defective ones to test.",
        [move("bolt/train/left", f"{T}left")],
    ),
    "no training images": (
        both(*(away(f"{T}00{n}.png") for n in range(4))),
        "Put normal images there, or remove the category 'bolt'.",
        [copy(f"{ORIGINAL}{T}000.png", f"{T}000.png"), lambda root: shutil.rmtree(root / "bolt")],
    ),
    "no test images": (
        both(away("bolt/test"), away("bolt/ground_truth")),
        "Put normal ones into test/good and defective ones into test/<defect type>.",
        [both(copy(f"{ORIGINAL}bolt/test", "bolt/test"), copy(f"{ORIGINAL}bolt/ground_truth", "bolt/ground_truth"))],
    ),
    "a directory that sounds normal": (
        move("bolt/test/good", "bolt/test/good_left"),
        "Move it to test/good/good_left if they are normal, or give it the name of a defect.",
        [move("bolt/test/good_left", "bolt/test/good/good_left")],
    ),
    "a test directory that sounds like masks": (
        both(move(M, "bolt/test/gt")),
        "Move masks to ground_truth/<type>, or give it the name of a defect.",
        [move("bolt/test/gt", M)],
    ),
    "a mask without an image": (
        copy(f"{M}000_mask.png", f"{M}900_mask.png"),
        "Check its name, or remove it.",
        [away(f"{M}900_mask.png"), both(away(f"{M}000_mask.png"), move(f"{M}900_mask.png", f"{M}000_mask.png"))],
    ),
    "a link": (
        both(lambda root: (root / f"{T}x.png").symlink_to(root / "gone.png")),
        "Copy the files themselves.",
        [both(away("nut"), away(f"{T}x.png"), copy("../away/nut/test/good/000.png", f"{T}x.png"))],
    ),
    "a link to a directory above it": (
        lambda root: (root / "bolt/extra").symlink_to(root),
        "Remove the link.",
        [away("bolt/extra")],
    ),
    "a name that is no text": (
        copy(f"{T}000.png", f"{T}\udcff.png"),
        "Rename the file or its directory.",
        [both(away(f"{T}000.png"), move(f"{T}\udcff.png", f"{T}900.png"))],
    ),
    "a name of a directory that is no text": (
        move(S, "bolt/test/\udcff"),
        "Rename the file or its directory.",
        [move("bolt/test/\udcff", S)],
    ),
    "a file of another format": (
        saved(f"{T}000.png", ".gif", "GIF"),
        "If they are images, save them as PNG.",
        [saved(f"{T}000.gif", ".png", "PNG")],
    ),
    "one name, two suffixes": (
        both(copy(f"{ORIGINAL}{S}001.png", f"{S}000.bmp"), copy(f"{ORIGINAL}{M}001_mask.png", f"{M}000.png")),
        "Rename one of them together with its mask.",
        [
            both(
                away(f"{S}001.png"),
                away(f"{M}001_mask.png"),
                move(f"{S}000.bmp", f"{S}900.png"),
                move(f"{M}000.png", f"{M}900_mask.png"),
            )
        ],
    ),
    "a directory with the name of an image": (
        both(move(f"{S}001.png", f"{S}000/001.png"), move(f"{M}001_mask.png", f"{M}000/001_mask.png")),
        "Rename one of them together with its masks.",
        [both(move(f"{S}000", f"{S}left"), move(f"{M}000", f"{M}left"))],
    ),
    "a missing mask": (
        away(f"{M}000_mask.png"),
        "Add the mask (NNN_mask.png, NNN.png or a directory NNN), or remove the image.",
        [copy(f"{ORIGINAL}{M}000_mask.png", f"{M}000_mask.png"), away(f"{S}000.png")],
    ),
    "an empty mask": (
        mask(f"{M}000_mask.png", nothing),
        "Any value above 0 is defect. Draw it, or call the image good.",
        [RESTORED, both(move(f"{S}000.png", f"{G}900.png"), away(f"{M}000_mask.png"))],
    ),
    "black masks": (
        mask(f"{M}000_mask.png", nothing),
        "Draw the defects, or call the images good.",
        [RESTORED, both(move(f"{S}000.png", f"{G}900.png"), away(f"{M}000_mask.png"))],
    ),
    "an inverted mask": (
        mask(f"{M}000_mask.png", lambda values: 255 - values),
        "Any value above 0 is defect. Invert it if necessary.",
        [mask(f"{M}000_mask.png", lambda values: 255 - values)],
    ),
    "a small mask": (
        mask(f"{M}000_mask.png", half),
        "It can be used, but regions may be lost: write it in the size of the image.",
        [RESTORED],
    ),
    "a mask of another shape": (
        mask(f"{M}000_mask.png", lambda values: values[:20]),
        "Write the mask in the size of the upright image (EXIF orientation applied).",
        [RESTORED],
    ),
    "a grey mask": (
        mask(f"{M}000_mask.png", soft),
        "or write masks of two values, as PNG.",
        [mask(f"{M}000_mask.png", lambda values: (values > 125) * np.uint8(255))],
    ),
    "a JPEG mask": (
        saved(f"{M}000_mask.png", ".jpg", "JPEG"),
        "Write masks as PNG.",
        [both(away(f"{M}000_mask.jpg"), copy(f"{ORIGINAL}{M}000_mask.png", f"{M}000_mask.png"))],
    ),
    "some images of 16 bits": (
        deep(f"{T}00[01].png"),
        "Write all in the same form.",
        [eight_bits, both(eight_bits, deep("bolt/t*/*/*.png"))],
    ),
    "a brighter test image": (
        both(deep("bolt/t*/*/*.png", 16), deep(f"{G}000.png", 40)),
        "Check that all images were taken with the same number of bits.",
        [away(f"{G}000.png")],
    ),
    "a damaged image": (
        lambda root: (root / f"{T}000.png").write_bytes(b"nothing"),
        "Remove it, or put a sound copy in its place.",
        [away(f"{T}000.png"), both(away(f"{T}000.png"), copy(f"{ORIGINAL}{T}000.png", f"{T}000.png"))],
    ),
    "an image in train and test": (
        copy(f"{T}000.png", f"{G}000.png"),
        "Remove one of them: a test image must not be trained on.",
        [away(f"{T}000.png"), away(f"{G}000.png")],
    ),
    "an image in two categories": (
        copy(f"{T}000.png", "nut/train/good/000.png"),
        "Remove it from the category to which it does not belong.",
        [away("nut/train/good/000.png")],
    ),
    "a normal and anomalous image": (
        copy(f"{G}000.png", f"{S}000.png"),
        "Decide which label is right, and remove the other one.",
        [away(f"{G}000.png"), both(away(f"{S}000.png"), away(f"{M}000_mask.png"))],
    ),
    "an image twice": (copy(f"{T}000.png", f"{T}001.png"), "Remove one of them.", [away(f"{T}001.png")]),
}  # fmt: skip


def reported(root: Path) -> list[str]:
    """What `verify` says, except remarks for which nothing has to be done."""
    problems = verify_root(root, find_dataset("folder"))
    return [str(problem) for problem in problems if problem.cure or problem.severity != "remark"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    root = write_miniature_folder(tmp_path_factory.mktemp("cures") / "original", categories=("bolt", "nut"))
    assert reported(root) == []
    return root


@pytest.mark.parametrize("case", CASES)
def test_a_cure_heals(sound, tmp_path, case):
    spoil, cure, healings = CASES[case]
    for number, heal in enumerate(healings):
        place = tmp_path / str(number)
        shutil.copytree(sound, place / "original")
        shutil.copytree(sound, place / "set")
        spoil(place / "set")
        assert cure in " ".join(reported(place / "set"))
        heal(place / "set")
        assert reported(place / "set") == []


def test_the_printed_threshold_heals_grey_masks(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "set")
    mask(f"{M}000_mask.png", soft)(tmp_path / "set")
    (problem,) = verify_root(tmp_path / "set", find_dataset("folder"))
    threshold = int(re.fullmatch(r"Choose MASK_THRESHOLD=(\d+) .--mask-threshold \1., or .*", problem.cure)[1])
    assert verify_root(tmp_path / "set", find_dataset("folder"), mask_threshold=threshold) == []


def test_the_line_about_masks_without_an_image_heals(sound, tmp_path):
    """``run`` counts such masks in one line, ``verify`` lists them one by one."""
    root = tmp_path / "set"
    shutil.copytree(sound, root)
    copy(f"{M}000_mask.png", f"{M}900_mask.png")(root)
    index = index_folder(root, "folder")
    assert "Check their names, or remove them." in " ".join(describe_unread(index.unread, index.categories, 9))
    away(f"{M}900_mask.png")(root)
    assert index_folder(root, "folder").unread == ()
