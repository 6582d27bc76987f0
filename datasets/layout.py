"""Where a category of the MVTec family keeps its images and masks: the original layout and its later variants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Directories of a category, relative to it, with ``/``.

    Attributes:
        train: Holds one directory, called ``good`` or the like, of training images.
        test: Holds one directory of test images per defect type, and one of good ones.
        masks: Holds the masks of the images in ``<test>/<type>``; ``{type}`` stands for the type's directory.
        images: Sub-directory of a type's directory that holds the images; empty if they lie in it directly.
    """

    train: str = "train"
    test: str = "test"
    masks: str = "ground_truth/{type}"
    images: str = ""

    @property
    def all_masks(self) -> str:
        """The directory above those of the types. Without it, a category has no pixel labels."""
        return self.masks.partition("/{type}")[0]
