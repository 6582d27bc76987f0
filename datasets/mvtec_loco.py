"""MVTec LOCO AD: five scenes with logical and structural anomalies (Bergmann et al., IJCV 2022).

The defect types are ``logical_anomalies`` and ``structural_anomalies``. Every defective image has a directory of masks,
``ground_truth/<type>/000/000.png``, one per defect, which are united. The official ``validation`` split is not read:
detectors are trained on ``train`` alone, while some published results use both splits for training.

The dataset's own pixel metric is sPRO, which counts a large defect as found when a part of it is found. This harness
measures PRO, so its pixel numbers are not comparable with the dataset's leaderboard.
"""

from __future__ import annotations

from pathlib import Path

from datasets.download.archive import Archive
from datasets.index.mvtec_layout import categories_home, index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex

PAGE = "https://www.mvtec.com/company/research/datasets/mvtec-loco"

# Category: (train, test good, test logical + structural), as counted from the files. The paper's abstract states
# 1,772 training images in all, six fewer than these.
COUNTS = {
    "breakfast_box": (351, 102, 83 + 90),
    "juice_bottle": (335, 94, 142 + 94),
    "pushpins": (372, 138, 91 + 81),
    "screw_bag": (360, 122, 137 + 82),
    "splicing_connectors": (360, 119, 108 + 85),
}

ARCHIVE = Archive(
    file="mvtec_loco_anomaly_detection.tar.xz",
    sha256="9e7c84dba550fd2e59d8e9e231c929c45ba737b6b6a6d3814100f54d63aae687",
    unpacked_limit=24 * 2**30,
    instructions=(
        f"MVTec LOCO AD can be downloaded from {PAGE} after filling in a form. Put mvtec_loco_anomaly_detection.tar.xz "
        "into this directory and run make data DATASET=mvtec_loco: it checks the archive and unpacks it. Or unpack it "
        "yourself, so that this directory holds breakfast_box/, juice_bottle/, ..., each with train/, test/ and "
        "ground_truth/."
    ),
)


def build_mvtec_loco(root: Path) -> DatasetIndex:
    """Build the index of MVTec LOCO AD, whose categories are in ``root`` or in a directory of it.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem.
        DatasetError: If no category is found.
    """
    return index_folder(categories_home(root), "mvtec_loco", given=root)


register(
    DatasetInfo(
        name="mvtec_loco",
        title="MVTec LOCO AD",
        licence="CC BY-NC-SA 4.0",
        instructions=ARCHIVE.instructions,
        build=build_mvtec_loco,
        counts=COUNTS,
        directory="mvtec_loco",
        page=PAGE,
        archive=ARCHIVE,
    )
)
