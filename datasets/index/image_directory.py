"""A directory of images without labels, such as textures: which of its files are read, and which are not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets.index.unread import MANIFESTS, Kind, UnreadFiles, entries_below, is_image
from datasets.samples.findings import Unread
from datasets.samples.value_range import bits_in_use

_ARCHIVES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})


@dataclass(frozen=True)
class ImageDirectory:
    """The images of a directory and its sub-directories.

    Attributes:
        root: The directory.
        images: Their paths relative to ``root``, with ``/``, sorted.
        unread: The files that are not read.
    """

    root: Path
    images: tuple[str, ...]
    unread: tuple[Unread, ...]

    def value_bits(self) -> int | None:
        """The range from which 16-bit files are scaled, from the largest value of all images, as in a category.

        Returns:
            8, 10, 12, 14 or 16 bits; None if no image has 16 bits.
        """
        return bits_in_use(self.root, self.images)

    def range_remark(self) -> str:
        """A sentence that says from which range 16-bit files are scaled; empty if there are none."""
        bits = self.value_bits()
        return f"16-bit files are scaled from {bits} bits (0 to {(1 << bits) - 1})." if bits is not None else ""


def read_image_directory(root: Path) -> ImageDirectory:
    """List a directory of images.

    Raises:
        DatasetError: If it does not exist or can't be read.
    """
    images: list[Path] = []
    others: list[tuple[Path, Kind]] = []
    for entry, kind in entries_below(root):
        if kind is Kind.FILE and is_image(entry):
            images.append(entry)
        elif entry.parent != root or entry.name not in MANIFESTS:
            others.append((entry, kind))
    homes = {root, *(parent for image in images for parent in image.parents)}
    unread = UnreadFiles(root)
    for entry, kind in others:
        if kind is Kind.FILE and entry.parent not in homes:
            top = next(parent for parent in (entry, *entry.parents) if parent.parent in homes)
            unread.add("", top, [entry], "it holds no images", severity="remark")
        elif kind is Kind.FILE and entry.suffix.lower() in _ARCHIVES:
            unread.add("", entry.parent, [entry], "archives are not read", severity="remark")
        else:
            unread.add_other("", entry.parent, [(entry, kind)])
    return ImageDirectory(root, tuple(sorted(file.relative_to(root).as_posix() for file in images)), unread.found())
