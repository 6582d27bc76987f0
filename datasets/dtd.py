"""The Describable Textures Dataset (Cimpoi et al., CVPR 2014): textures that DRAEM pastes during training.

It is no dataset of anomalies and has no index. Textures are searched for in ``DATA_DIR/dtd``. The publisher gives
only an md5 of the archive.
"""

from __future__ import annotations

from datasets.download.archive import Archive
from datasets.index.registry import DataInfo, register

PAGE = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"

ARCHIVE = Archive(
    file="dtd-r1.0.1.tar.gz",
    # Address and md5 as in torchvision.
    url="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    md5="fff73e5086ae6bdbea199a49dfb8a4c1",
    unpacked_limit=4 * 2**30,
    instructions=(
        "The Describable Textures Dataset is fetched on request by make data DATASET=dtd. Or unpack "
        "dtd-r1.0.1.tar.gz into this directory yourself; images are searched for in all its subdirectories."
    ),
)

register(
    DataInfo(
        name="dtd",
        title="Describable Textures Dataset",
        licence="not stated; offered for research",
        instructions=ARCHIVE.instructions,
        directory="dtd",
        page=PAGE,
        archive=ARCHIVE,
    )
)
