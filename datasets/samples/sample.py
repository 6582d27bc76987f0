"""The classes of a dataset: ``Sample``, one image, and ``DatasetIndex``, the sorted list of all samples.

A dataset module only assigns files to categories, splits and defect types. Decoding, resizing, hashing and all later
steps are shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from datasets.errors import DatasetError, unknown_name
from datasets.samples.findings import Problem, Unread
from datasets.samples.fingerprint import content_fingerprint
from datasets.samples.value_range import bits_in_use

Split = Literal["train", "test"]
GOOD = "good"


@dataclass(frozen=True, order=True)
class Sample:
    """One image of a dataset.

    Attributes:
        category: The kind of object or texture, e.g. ``bottle``.
        split: ``train`` (normal images only) or ``test``.
        path: Path of the image relative to the dataset's root, with ``/``. ``name.npy#17`` is row 17
            of an array of images, shape ``(n, H, W, 3)``, uint8.
        defect: ``good``, or the name of the defect type. The image label comes from here, never from a mask.
        masks: Paths of the mask files relative to the root. Several masks are united. Empty for normal
            images, and for defective images of datasets without pixel labels.
    """

    category: str
    split: Split
    path: str
    defect: str = GOOD
    masks: tuple[str, ...] = ()

    @property
    def is_anomalous(self) -> bool:
        """Whether the image shows a defect, as its folder or list file says."""
        return self.defect != GOOD


class Counts(NamedTuple):
    """What was found of a category: training, normal and anomalous test images, and files of masks."""

    train: int
    normal: int
    anomalous: int
    masks: int


@dataclass(frozen=True)
class DatasetIndex:
    """The sorted samples of a dataset and the directory of its files.

    Attributes:
        name: Name on the command line and in records, e.g. ``mvtec``.
        root: Directory that all sample paths are relative to.
        samples: All samples, sorted by (category, split, path), independent of the order of the file system.
        has_masks: False for datasets without pixel labels. Pixel metrics are then blank, with this reason.
        image_score: ``own`` lets each detector use its own image score; ``map_mean`` replaces it by the
            mean of the anomaly map (the rule of the CIFAR-10 protocol).
        settings: Settings that are defined in the dataset's protocol.
        textures: Categories that are textures (all others are objects), for the paper's means of the two kinds.
        faults: Description of the problems of each category with faulty files. No detector is trained or tested on it.
        unread: The files that were found and are not read.
        remarks: What else should be reported about how the files are read, e.g. where masks were found.
    """

    name: str
    root: Path
    samples: tuple[Sample, ...]
    has_masks: bool = True
    image_score: Literal["own", "map_mean"] = "own"
    settings: tuple[str, ...] = ("unified", "separate")
    textures: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict, compare=False)
    unread: tuple[Unread, ...] = field(default=(), compare=False)
    remarks: tuple[Problem, ...] = field(default=(), compare=False)
    _fingerprints: dict[tuple[str, str], str] = field(default_factory=dict, repr=False, compare=False)
    _bits: dict[str, int | None] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", tuple(sorted(self.samples)))
        for sample in self.samples:
            if sample.split == "train" and sample.is_anomalous:
                raise DatasetError(
                    f"{self.root / sample.path}: a training image is marked as '{sample.defect}'. "
                    "Only normal images are trained on: make it a test image."
                )

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories, sorted."""
        return tuple(sorted({sample.category for sample in self.samples}))

    def select(self, categories: Iterable[str]) -> DatasetIndex:
        """The same dataset with the given categories only.

        Raises:
            UnknownNameError: If the dataset does not have a category. The message lists the most similar names.
        """
        wanted = set(categories)
        for name in sorted(wanted):
            if name not in self.categories:
                raise unknown_name(f"category of {self.name}", name, self.categories)
        return replace(self, samples=tuple(s for s in self.samples if s.category in wanted))

    def require_sound(self, categories: Iterable[str]) -> None:
        """Raise an error if one of the categories has faults.

        Raises:
            DatasetError: If there are faults. The message describes them.
        """
        found = [self.faults[category] for category in categories if category in self.faults]
        if found:
            raise DatasetError("\n".join(found))

    def has_pixel_labels(self, category: str) -> bool:
        """Whether the category's defective images have masks. If not, its pixel metrics are blank."""
        return self.has_masks and any(s.masks for s in self.samples if s.category == category)

    def counts(self, category: str) -> Counts:
        """Numbers of images and masks of a category."""
        tested = self.split("test", category)
        anomalous = sum(sample.is_anomalous for sample in tested)
        masks = len({mask for sample in tested for mask in sample.masks})
        return Counts(len(self.split("train", category)), len(tested) - anomalous, anomalous, masks)

    def split(self, split: Split, category: str | None = None) -> tuple[Sample, ...]:
        """Samples of one split, of one category or of all categories, in index order."""
        return tuple(s for s in self.samples if s.split == split and (category is None or s.category == category))

    def value_bits(self, category: str) -> int | None:
        """The range from which the category's 16-bit files are scaled, from the largest value of its training images.

        Returns:
            8, 10, 12, 14 or 16 bits; None if no training image has 16 bits.
        """
        if category not in self._bits:
            self._bits[category] = bits_in_use(self.root, (s.path for s in self.split("train", category)))
        return self._bits[category]

    def fingerprint(self, category: str, split: Split) -> str:
        """sha256 over relative paths, labels and bytes of one category's split (images and masks).

        It does not depend on the order of the files in the file system, nor on the location of the root. If 16-bit
        files are scaled from a smaller range, the range is a part of it, because it changes the decoded images.

        Raises:
            DatasetError: If a file can't be read.
        """
        key = (category, split)
        if key not in self._fingerprints:
            self._fingerprints[key] = content_fingerprint(
                self.root, [(s.path, s.defect, s.masks) for s in self.split(split, category)]
            )
            bits = self.value_bits(category)
            if bits not in {None, 16}:
                ranged = f"{self._fingerprints[key]} {bits} bits"
                self._fingerprints[key] = hashlib.sha256(ranged.encode()).hexdigest()
        return self._fingerprints[key]
