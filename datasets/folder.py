"""The dataset ``folder``: your own images, in the MVTec layout (see ``datasets.index.mvtec_layout``)."""

from __future__ import annotations

from pathlib import Path

from datasets.index.mvtec_layout import index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import DatasetIndex


def build_folder(root: Path) -> DatasetIndex:
    """Build the index of any directory of categories in the MVTec layout."""
    return index_folder(root, "folder")


register(
    DatasetInfo(
        name="folder",
        title="Own images",
        licence="as their owner says",
        instructions=(
            "Any directory of categories in the MVTec layout, given with ROOT=<directory>: "
            "<category>/train/good (normal images), <category>/test/good, <category>/test/<defect type> and, "
            "for metrics on pixel level, <category>/ground_truth/<defect type>/<image name>_mask.png."
        ),
        build=build_folder,
        directory="folder",
    )
)
