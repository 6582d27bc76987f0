"""MPDD: six kinds of painted metal parts in several poses (Jezek et al., ICUMT 2021), MVTec layout.

The authors share it through a link on their page, which a person has to open. Copies of the archive differ in size,
and no source states a checksum of the original, so no checksum is verified: ``make data`` reports this and compares
the image counts.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.mvtec_layout import categories_home, index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

PAGE = "https://github.com/stepanje/MPDD"

# Category: (train, test good, test defective).
COUNTS = {
    "bracket_black": (289, 32, 47),
    "bracket_brown": (185, 26, 51),
    "bracket_white": (110, 30, 30),
    "connector": (128, 30, 14),
    "metal_plate": (54, 26, 71),
    "tubes": (122, 32, 69),
}

ARCHIVE = Archive(
    file="MPDD.zip",
    unpacked_limit=16 * 2**30,
    instructions=(
        f"MPDD is available through the link on {PAGE}. Save it as MPDD.zip in this directory and run make data "
        "DATASET=mpdd: it is unpacked and its images are counted; no checksum of the archive is published. Or unpack "
        "it yourself, so that this directory holds bracket_black/, connector/, ..., each with train/, test/ and "
        "ground_truth/."
    ),
)


def build_mpdd(root: Path) -> DatasetIndex:
    """Build the index of MPDD, whose categories are in ``root`` or in a directory of it.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If no category is found.
    """
    return index_folder(categories_home(root), "mpdd", given=root)


register(
    DatasetInfo(
        name="mpdd",
        title="MPDD",
        licence="CC BY-NC-SA 4.0 (according to third parties)",
        instructions=ARCHIVE.instructions,
        build=build_mpdd,
        counts=COUNTS,
        directory="mpdd",
        page=PAGE,
        archive=ARCHIVE,
    )
)
