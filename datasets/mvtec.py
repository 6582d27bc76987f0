"""MVTec AD: 15 categories of objects and textures (Bergmann et al., CVPR 2019; IJCV 2021).

A form has to be filled in to get the archive, so a person fetches it; this project checks and unpacks it.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.mvtec_layout import index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")

# Category: (train, test good, test defective), as counted from the published file lists.
COUNTS = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}

PAGE = "https://www.mvtec.com/company/research/datasets/mvtec-ad"

ARCHIVE = Archive(
    file="mvtec_anomaly_detection.tar.xz",
    sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    unpacked_limit=12 * 2**30,
    instructions=(
        f"MVTec AD (CC BY-NC-SA 4.0) can be downloaded from {PAGE} after filling in a form. Put "
        "mvtec_anomaly_detection.tar.xz into this directory and run the download again: it checks the archive and "
        "unpacks it. Or unpack it yourself, so that this directory holds bottle/, cable/, ..., each with train/, test/ "
        "and ground_truth/."
    ),
)


def build_mvtec(root: Path) -> DatasetIndex:
    """Build the index of MVTec AD from its official layout."""
    return index_folder(root, "mvtec", textures=TEXTURES)


register(
    DatasetInfo(
        name="mvtec",
        title="MVTec AD",
        licence="CC BY-NC-SA 4.0",
        instructions=ARCHIVE.instructions,
        build=build_mvtec,
        counts=COUNTS,
        directory="mvtec",
        page=PAGE,
        archive=ARCHIVE,
    )
)
