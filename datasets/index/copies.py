"""Finds images of a dataset that are copies of others: in train and test, in two categories, with two labels, or twice.

Two images are copies if their files are equal byte for byte (rows of an array file: if their pixels are). The same
picture saved again in another format, or with other metadata, is not found. Only files of equal size are read, for
their digests, which are kept within a process: a run computes the same digests for its fingerprints.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, zip_longest
from typing import NamedTuple

from datasets.errors import DatasetError
from datasets.samples.array_rows import array_row, split_row
from datasets.samples.findings import Problem
from datasets.samples.fingerprint import file_digest
from datasets.samples.sample import DatasetIndex, Sample, Split


class Copies(NamedTuple):
    """Numbers of images of a category that are copies of other images of the dataset; an image may count in several.

    Attributes:
        trained: Test images that are also training images, of any category.
        contradicting: Images that are normal here and anomalous elsewhere, or the reverse.
        elsewhere: Images that are in another category too.
        repeated: Images that are there twice or more in the same category and split, with the same label.
    """

    trained: int
    contradicting: int
    elsewhere: int
    repeated: int


def count_copies(index: DatasetIndex) -> dict[str, Copies]:
    """The numbers of each category that has copies."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for group in _groups(index):
        sizes = Counter(map(_Place.of, group))
        for place, size in sizes.items():
            others = [other for other, number in sizes.items() if other != place or number > 1]
            relations = {relation for other in others for relation in _relations(place, other)}
            if place.split == "train":
                relations.discard("trained")
            found[place.category].update(dict.fromkeys(relations, size))
    return {category: Copies(*(found[category][name] for name in Copies._fields)) for category in sorted(found)}


def copy_problems(index: DatasetIndex) -> list[Problem]:
    """A problem for each pair of copies.

    Of more than two equal files not all pairs are named: every image is paired once for each of the numbers of
    ``Copies`` that it counts in.
    """
    pairs = {pair for group in _groups(index) for pair in _pairs(group)}
    return sorted(_problem(first, second) for first, second in pairs)


class _Place(NamedTuple):
    """Where an image is, as far as it matters for copies."""

    category: str
    split: Split
    anomalous: bool

    @classmethod
    def of(cls, sample: Sample) -> _Place:
        return cls(sample.category, sample.split, sample.is_anomalous)


def _relations(first: _Place, second: _Place) -> list[str]:
    """The fields of ``Copies`` in which a pair of copies counts, the worst one first."""
    relations = (
        ("contradicting", first.anomalous != second.anomalous),
        ("trained", first.split != second.split),
        ("elsewhere", first.category != second.category),
        ("repeated", first == second),
    )
    return [name for name, holds in relations if holds]


_SAID = {
    "contradicting": ("one is normal and one anomalous", "Decide which label is right, and remove the other one."),
    "trained": ("in train and test", "Remove one of them: a test image must not be trained on."),
    "elsewhere": ("in two categories", "Remove it from the category to which it does not belong."),
    "repeated": ("", "Remove one of them."),
}
"""What a problem says of each relation, and its cure."""


def _problem(first: Sample, second: Sample) -> Problem:
    relations = _relations(_Place.of(first), _Place.of(second))
    what = ", ".join(_SAID[name][0] for name in relations if _SAID[name][0]) or f"twice in {first.split}"
    what = f"is the same file as {second.path}, byte for byte: {what}."
    return Problem(first.path, what, _SAID[relations[0]][1], "warning" if relations == ["repeated"] else "error")


def _pairs(group: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """The pairs of equal images that are named, test images before training images."""
    by_place: dict[_Place, list[Sample]] = defaultdict(list)
    for sample in group:
        by_place[_Place.of(sample)].append(sample)
    for samples in by_place.values():
        yield from ((sample, samples[0]) for sample in samples[1:])
    chosen: dict[tuple[_Place, str], _Place] = {}
    for place, other in combinations(by_place, 2):
        for relation in _relations(place, other):
            chosen.setdefault((place, relation), other)
            chosen.setdefault((other, relation), place)
    for place, other in {(min(place, other), max(place, other)) for (place, _), other in chosen.items()}:
        here, there = by_place[place], by_place[other]
        for one, two in zip_longest(here, there):
            first, second = one or here[-1], two or there[-1]
            yield (second, first) if (first.split, second.split) == ("train", "test") else (first, second)


def _groups(index: DatasetIndex) -> list[list[Sample]]:
    """The images that are equal to another one, together with it."""
    by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample in index.samples:
        size = _size(index, sample.path)
        if size:
            by_size[size].append(sample)
    groups: dict[tuple[int, bytes], list[Sample]] = defaultdict(list)
    for size, samples in by_size.items():
        for sample in samples if len(samples) > 1 else ():
            digest = _digest(index, sample.path)
            if digest is not None:
                groups[size, digest].append(sample)
    return [group for group in groups.values() if len(group) > 1]


def _size(index: DatasetIndex, path: str) -> int:
    """Size of an image's file, or of its row, in bytes; 0 if it can't be read, which whoever decodes it reports."""
    file, row = split_row(path)
    try:
        return (index.root / file).stat().st_size if row is None else array_row(index.root, file, row).nbytes
    except (OSError, DatasetError):
        return 0


def _digest(index: DatasetIndex, path: str) -> bytes | None:
    file, row = split_row(path)
    try:
        if row is None:
            return file_digest(index.root / file)
        return hashlib.sha256(array_row(index.root, file, row).tobytes()).digest()
    except DatasetError:
        return None
