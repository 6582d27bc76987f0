"""The form of checkpoints that a method's authors publish: names of tensors, and sizes derived from their shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor


class Shapes:
    """Looks up sizes in the tensors of a file.

    If a tensor is missing, its size is the given default; the loading of the state later reports its name.

    Args:
        file: The file, which errors name.
        state: Tensors under the names of the detector's own state.
    """

    def __init__(self, file: Path, state: Mapping[str, Tensor]) -> None:
        self.file = file
        self.shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}

    def side(self, name: str, axis: int, default: int) -> int:
        """Length of an axis of a tensor."""
        shape = self.shapes.get(name, ())
        return shape[axis] if -len(shape) <= axis < len(shape) and shape[axis] else default

    def count(self, prefix: str, default: int) -> int:
        """Number of items of the list ``prefix``, which is its highest index + 1."""
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = [int(match[1]) for name in self.shapes if (match := pattern.match(name))]
        return max(found) + 1 if found else default


SizesOf = Callable[[Shapes, Mapping[str, Any]], tuple[dict[str, Any], tuple[int, ...]]]
"""A function that derives sizes from the shapes and from the fields of the configuration that the user gives. It
returns the fields that follow from the shapes, and the channels of the features.

Raises:
    CheckpointError: If the shapes belong to no configuration.
"""


@dataclass(frozen=True)
class ReleasedForm:
    """The form of a method's published checkpoints.

    Attributes:
        sizes_of: Function that derives the sizes of the detector from the shapes of its tensors.
        part: Prefix of the detector's tensors in the file.
        backbone: Prefixes of the frozen backbone's tensors, which are not read.
        own: Prefixes of the parts of the detector's state that no published file has; they keep their initial values.
        categories: Prefix of a list that has an item for each category, for class-aware detectors.
        per_level: Whether the file has a list of dicts, one for each level, instead of one dict.
        native_padding: Whether the authors' EfficientNet pads as TensorFlow does.
    """

    sizes_of: SizesOf
    part: str = ""
    backbone: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    categories: str = ""
    per_level: bool = False
    native_padding: bool = False
