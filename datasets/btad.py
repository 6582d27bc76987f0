"""BTAD: three industrial products (Mishra et al., ISIE 2021), directories called ``ok`` and ``ko``.

The suffixes of images and masks differ between products, so they are paired by stem. The archive holds everything
in a directory of its own, which is found. Its README swaps the training counts of products 02 and 03; the counts
here are those of the files.

The licence is given as CC BY-SA by one source (the authors' VT-ADL repository) and as CC BY-NC-SA 4.0 by another
(anomalib): treat it as non-commercial until the authors say otherwise.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.mvtec_layout import categories_home, index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

# Product: (train, test normal, test defective).
COUNTS = {
    "01": (400, 21, 49),
    "02": (399, 30, 200),
    "03": (1000, 400, 41),
}

ARCHIVE = Archive(
    file="btad.zip",
    # Address and sha256 as in anomalib's downloader.
    url="https://avires.dimi.uniud.it/papers/btad/btad.zip",
    sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
    unpacked_limit=32 * 2**30,
    instructions=(
        "BTAD is fetched on request: make data DATASET=btad. Or put btad.zip into this directory and run the same. Or "
        "unpack it yourself, so that this directory holds 01/, 02/ and 03/, each with train/ok, test/ok, test/ko and "
        "ground_truth/ko."
    ),
)


def build_btad(root: Path) -> DatasetIndex:
    """Index of BTAD, at ``root`` or one directory below.

    Raises:
        IndexingError: With everything that is wrong.
        DatasetError: If no product is there.
    """
    return index_folder(categories_home(root), "btad")


register(
    DatasetInfo(
        name="btad",
        title="BTAD",
        licence="sources differ: CC BY-NC-SA 4.0 or CC BY-SA; treat as non-commercial",
        instructions=ARCHIVE.instructions,
        build=build_btad,
        counts=COUNTS,
        directory="btad",
        archive=ARCHIVE,
    )
)
