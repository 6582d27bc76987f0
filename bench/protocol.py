"""The protocol: everything between a raw anomaly map and a number. One for all detectors, versioned.

1. Images are decoded to RGB and resized to the detector's input size; aspect ratio not kept, no crop.
2. A detector returns its map at its published output size, after its own upsampling and smoothing.
3. The map is resized bilinearly to ``map_size``.
4. Masks are binarised at file resolution (any value above 0, or above ``MASK_THRESHOLD``, is defect; several masks are
   united), then resized
   to ``map_size`` by nearest neighbour, then labelled into regions with 8-connectivity.
5. Image label: from the folder or list file, never from a mask.
6. Image score: the detector's own (headline); in addition, for all detectors, the maximum of the resized map after a
   16x16 mean.
7. Metrics are exact and per category; the mean over categories is taken within a seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class Protocol:
    """The settings of the protocol. All of them are in every record and on the page.

    Attributes:
        map_size: Side in pixels that maps and masks are resized to, or ``native`` for each mask's own resolution.
        map_resize: How maps are resized.
        mask_binarisation: Which mask values count as defect, as ``binarisation`` writes it.
        mask_resize: How masks are resized.
        connectivity: Number of neighbours of a pixel when defect regions are labelled.
        pro_limit: Largest false-positive rate of the PRO curve; the area under the curve is divided by it.
        common_score: The rule of the image score that is the same for all detectors.
        common_window: Side of the mean filter of that score in pixels of the resized map.
        crop: Whether images are cropped.
        selection: Which training state is scored.
        version: Version of the protocol, raised whenever its code or meaning changes.
    """

    map_size: int | Literal["native"] = 256
    map_resize: str = "bilinear, align_corners=False"
    mask_binarisation: str = "> 0 at file resolution"
    mask_resize: str = "nearest"
    connectivity: int = 8
    pro_limit: float = 0.3
    common_score: str = "maximum after mean filter"
    common_window: int = 16
    crop: str = "none"
    selection: str = "last step"
    version: int = PROTOCOL_VERSION

    @property
    def mask_threshold(self) -> int:
        """Values of a mask above it are defect."""
        return int(self.mask_binarisation.split()[1])

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values, for ids and records."""
        return asdict(self)


def binarisation(threshold: int) -> str:
    """The protocol's description of a threshold of masks."""
    return f"> {threshold} at file resolution"


def resize_maps(maps: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (B, H, W) maps bilinearly to (B, height, width) float32 on the CPU."""
    resized = F.interpolate(maps[:, None].float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    array: NDArray[np.float32] = resized.cpu().numpy()
    return array


def common_score(map_: NDArray[np.float32], window: int) -> float:
    """Maximum of one (H, W) map after a window x window mean, stride 1, no padding."""
    means: NDArray[np.float64] = map_.astype(np.float64)
    side = min(window, *map_.shape)
    for axis, length in enumerate(map_.shape):
        # Running sums, one axis after the other, take a tenth of the time of adding up every window.
        means = ndimage.uniform_filter1d(means, side, axis=axis)
        inside = slice(side // 2, side // 2 + length - side + 1)
        means = means[inside] if axis == 0 else means[:, inside]
    return float(means.max())
