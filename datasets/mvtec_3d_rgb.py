"""MVTec 3D-AD, its colour images alone (Bergmann et al., VISAPP 2022); the point clouds are not read.

::

    <category>/train/good/rgb/000.png           <category>/validation/good/rgb (not read)
    <category>/test/<type>/rgb/000.png          <category>/test/<type>/gt/000.png (masks)

Good test images have masks too, which are empty and not used. Counts and checksum are in no source at hand, so
neither is checked.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.mvtec_layout import Layout, categories_home, index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

PAGE = "https://www.mvtec.com/company/research/datasets/mvtec-3d-ad"
LAYOUT = Layout(images="rgb", masks="test/{type}/gt")

ARCHIVE = Archive(
    file="mvtec_3d_anomaly_detection.tar.xz",
    unpacked_limit=64 * 2**30,
    instructions=(
        f"MVTec 3D-AD is given out on {PAGE} after a form is filled in. Put mvtec_3d_anomaly_detection.tar.xz into "
        "this directory and run make data DATASET=mvtec_3d_rgb: it is unpacked. Or unpack it yourself, so that each "
        "category holds train/good/rgb, test/<type>/rgb and test/<type>/gt. Neither a checksum of the archive nor "
        "the number of images is known here, so neither is checked."
    ),
)


def build_mvtec_3d_rgb(root: Path) -> DatasetIndex:
    """Index of the colour images of MVTec 3D-AD, at ``root`` or one directory below.

    Raises:
        IndexingError: With everything that is wrong.
        DatasetError: If no category is there.
    """
    return index_folder(categories_home(root, LAYOUT), "mvtec_3d_rgb", LAYOUT)


register(
    DatasetInfo(
        name="mvtec_3d_rgb",
        title="MVTec 3D-AD (colour images)",
        licence="CC BY-NC-SA 4.0",  # as in the readme that comes with the data
        instructions=ARCHIVE.instructions,
        build=build_mvtec_3d_rgb,
        directory="mvtec_3d_rgb",
        page=PAGE,
        archive=ARCHIVE,
    )
)
