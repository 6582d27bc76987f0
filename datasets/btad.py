"""BTAD: three industrial products (Mishra et al., ISIE 2021), with directories called ``ok`` and ``ko``.

The suffixes of images and masks differ between products, so images and masks are paired by stem. The archive holds
everything in one top directory, which is found automatically. Its README swaps the training counts of products 02
and 03; the counts here are those of the files.

One source gives the licence as CC BY-SA (the authors' VT-ADL repository), another as CC BY-NC-SA 4.0 (anomalib).
Treat the data as non-commercial until the authors say otherwise.
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
        "BTAD is fetched on request by make data DATASET=btad. Or put btad.zip into this directory and run the same "
        "command. Or unpack it yourself, so that this directory holds 01/, 02/ and 03/, each with train/ok, test/ok, "
        "test/ko and ground_truth/ko."
    ),
)


def build_btad(root: Path) -> DatasetIndex:
    """Build the index of BTAD, whose products are in ``root`` or in a directory of it.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If no product is found.
    """
    return index_folder(categories_home(root), "btad", given=root)


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
