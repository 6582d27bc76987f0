"""What names of directories and files mean in the MVTec layout, and which names are problems.

Images and masks are paired by name: by their path in the directory of their type of defect, without the suffix.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets.index.problems import Problem
from datasets.samples.sample import Sample

GOOD_NAMES = frozenset({"good", "ok", "normal"})
"""Directory names, in lower case, that mean "no defect"."""

MASK_ENDING = "_mask"
MASK_NAMES = frozenset({"groundtruth", "gt", "mask", "masks"})
OTHER_MASK_NAMES = MASK_NAMES | {"annotation", "annotations", "label", "labels"}
"""Other usual names of a category's directory of masks, as ``plain`` gives them."""
VALIDATION = frozenset({"val", "valid", "validation"})
_NORMAL_WORDS = GOOD_NAMES | {"okay"}
_NEGATIONS = frozenset({"no", "non", "not", "never", "bad"})


def same_name(stem: str) -> str:
    """The form in which file names are compared, because file systems encode accents in different ways."""
    return unicodedata.normalize("NFC", stem)


def plain(name: str) -> str:
    """A directory's name in lower case and without separators: ``Ground_Truth`` becomes ``groundtruth``."""
    return re.sub(r"[\W_]+", "", name.lower())


def sounds_normal(name: str) -> bool:
    """Whether a directory's name has a word for "no defect" and no negation: ``good_camera2``, but not ``not_good``."""
    words = set(re.findall(r"[^\W\d_]+", name.lower()))
    return bool(words & _NORMAL_WORDS) and not words & _NEGATIONS


def named_like_masks(image: Path, home: Path) -> Path | None:
    """The directory between ``home`` and the image that is named like a directory of masks; None without one."""
    above = [parent for parent in image.parents if parent != home and parent.is_relative_to(home)]
    return next((parent for parent in reversed(above) if plain(parent.name) in MASK_NAMES), None)


def name_in(file: Path, home: Path) -> str:
    """The path of a file in a directory without its suffix, in the form in which names are compared."""
    return same_name(file.relative_to(home).with_suffix("").as_posix())


def shared_names(images: Sequence[Path], home: Path, root: Path) -> list[Problem]:
    """Images whose mask could belong to another one: equal up to the suffix, or called like a directory of images.

    Args:
        images: The images of a type of defect.
        home: Directory that holds them.
        root: Directory of the dataset.
    """
    names = Counter(name_in(image, home) for image in images)
    parents = {same_name(image.parent.relative_to(home).as_posix()) for image in images}
    problems = []
    for image in images:
        name = name_in(image, home)
        if names[name] > 1:
            what = "another image of this directory has the same name but another suffix, so a mask fits both."
            problems.append(Problem(relative(image, root), what, "Rename one of them together with its mask."))
        elif {name, name + MASK_ENDING} & parents:
            what = "a directory of images has the same name, so a mask in the directory of that name fits both."
            problems.append(Problem(relative(image, root), what, "Rename one of them together with its masks."))
    return problems


def with_portable_names(samples: list[Sample], problems: list[Problem]) -> Iterator[Sample]:
    """Yield the samples whose names can be written into a record; the others are added to ``problems``."""
    for sample in samples:
        try:
            "".join((sample.path, *sample.masks)).encode()
            yield sample
        except UnicodeEncodeError as error:
            name = error.object[: error.end].rpartition("/")[2]
            what = f"a name that is not valid UTF-8 (it begins with {name!a})."
            problems.append(Problem(sample.path, what, "Rename the file or its directory."))


def relative(path: Path, root: Path) -> str:
    """The path of a file in a directory, with ``/``."""
    return path.relative_to(root).as_posix()
