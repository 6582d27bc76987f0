"""MVTec 3D-AD (Bergmann et al., VISAPP 2022), colour images only; the point clouds are not read.

::

    <category>/train/good/rgb/000.png           <category>/validation/good/rgb (not read)
    <category>/test/<type>/rgb/000.png          <category>/test/<type>/gt/000.png (masks)

Good test images have masks too, which are empty and not used. No known source states the counts or the checksum, so
neither is checked.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.layout import Layout
from datasets.index.mvtec_layout import categories_home, index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

PAGE = "https://www.mvtec.com/company/research/datasets/mvtec-3d-ad"
LAYOUT = Layout(images="rgb", masks="test/{type}/gt")

ARCHIVE = Archive(
    file="mvtec_3d_anomaly_detection.tar.xz",
    unpacked_limit=64 * 2**30,
    instructions=(
        f"MVTec 3D-AD can be downloaded from {PAGE} after filling in a form. Put mvtec_3d_anomaly_detection.tar.xz "
        "into this directory and run make data DATASET=mvtec_3d_rgb, which unpacks it. Or unpack it yourself, so that "
        "each category holds train/good/rgb, test/<type>/rgb and test/<type>/gt. Neither a checksum of the archive nor "
        "the number of images is known here, so neither is checked."
    ),
)


def build_mvtec_3d_rgb(root: Path) -> DatasetIndex:
    """Build the index of MVTec 3D-AD's colour images; its categories are in ``root`` or in a directory of it.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If no category is found.
    """
    return index_folder(categories_home(root, LAYOUT), "mvtec_3d_rgb", LAYOUT, given=root)


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
