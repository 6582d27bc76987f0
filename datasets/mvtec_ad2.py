"""MVTec AD 2: eight objects under changing light (Heckler-Kram et al., 2025), with the public test split.

::

    <object>/train/good                         <object>/validation/good (not read)
    <object>/test_public/{good,bad}             <object>/test_public/ground_truth/bad
    <object>/test_private, <object>/test_private_mixed (no labels: scored by the publisher's server; not read)

Numbers on the public split are not comparable with the server's leaderboard, which uses the private splits. No known
source states counts per object, so none are checked.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.layout import Layout
from datasets.index.mvtec_layout import categories_home, index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

PAGE = "https://www.mvtec.com/company/research/datasets/mvtec-ad-2"
LAYOUT = Layout(
    test="test_public",
    masks="test_public/ground_truth/{type}",
    other=("test_private", "test_private_mixed"),
)

ARCHIVE = Archive(
    file="mvtec_ad_2.tar.gz",
    sha256="c0ded99ef32bfc8e352d52beb44515e5b292b8598cb963aadfa91ca0763505e4",
    size=32_739_596_982,
    unpacked_limit=128 * 2**30,
    instructions=(
        f"MVTec AD 2 (33 GB) can be downloaded from {PAGE} after filling in a form. Put mvtec_ad_2.tar.gz into this "
        "directory and run make data DATASET=mvtec_ad2: it checks the archive and unpacks it. Or unpack it yourself, "
        "so that this directory holds can/, fabric/, ..., each with train/ and test_public/. The number of images per "
        "object is not known here, so it is not checked."
    ),
)


def build_mvtec_ad2(root: Path) -> DatasetIndex:
    """Build the index of MVTec AD 2's public split; its objects are in ``root`` or in a directory of it.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If no object is found.
    """
    return index_folder(categories_home(root, LAYOUT), "mvtec_ad2", LAYOUT, given=root)


register(
    DatasetInfo(
        name="mvtec_ad2",
        title="MVTec AD 2 (public test split)",
        licence="CC BY-NC-SA 4.0",
        instructions=ARCHIVE.instructions,
        build=build_mvtec_ad2,
        directory="mvtec_ad2",
        page=PAGE,
        archive=ARCHIVE,
    )
)
