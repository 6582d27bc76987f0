"""Where a category of the MVTec family keeps its images and masks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Where a category keeps its images and masks. Paths are relative to the category and use ``/``.

    Attributes:
        train: Directory that holds one directory of training images, called ``good`` or similar.
        test: Directory that holds one directory of test images per defect type, and one of good ones.
        masks: Directory of the masks for the images in ``<test>/<type>``; ``{type}`` stands for the type's directory.
        images: Sub-directory of a type's directory that holds the images; empty if they are directly in it.
        other: Other directories of a category, which the dataset's protocol does not read.
    """

    train: str = "train"
    test: str = "test"
    masks: str = "ground_truth/{type}"
    images: str = ""
    other: tuple[str, ...] = ()

    @property
    def all_masks(self) -> str:
        """The directory that holds the types' directories of masks. A category without it has no pixel labels."""
        return self.masks.partition("/{type}")[0]


MVTEC = Layout()
