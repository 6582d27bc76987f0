"""Which backbone with which weights, from the words of the command line: the same rules for every command."""

from __future__ import annotations

from pathlib import Path

from bench.errors import OptionError
from datasets.errors import unknown_name
from methods.backbones.choice import WeightsKind
from methods.backbones.shipped import ARCHITECTURE, FORMULA

KINDS: tuple[WeightsKind, ...] = ("pretrained", "file", "random", "shipped")
"""What a user may say of weights."""


def weights_of(said: str, directory: Path | None, backbone: str, usual: WeightsKind) -> WeightsKind:
    """The kind of weights to use.

    Args:
        said: One of ``KINDS``, or empty.
        directory: Of weights files, or None.
        backbone: The backbone's name; empty where each preset has its own.
        usual: Where the user says nothing.

    Raises:
        UnknownNameError: For another word.
        OptionError: For words that do not go together.
    """
    if said and said not in KINDS:
        raise unknown_name("kind of weights", said, KINDS)
    if said == "file" and directory is None:
        raise OptionError("WEIGHTS=file needs WEIGHTS_DIR=<directory of <timm name>.safetensors>.")
    if said != "file" and said and directory is not None:
        raise OptionError(f"WEIGHTS={said} does not go with WEIGHTS_DIR: give one of them.")
    if backbone == FORMULA:
        if said not in ("", "shipped") or directory is not None:
            raise OptionError(
                f"BACKBONE={FORMULA} comes with its weights: leave WEIGHTS and WEIGHTS_DIR out. Its network with "
                f"others is BACKBONE={ARCHITECTURE}."
            )
        return "shipped"
    if said == "shipped":
        raise OptionError(f"WEIGHTS=shipped is of BACKBONE={FORMULA} alone; {backbone or 'the preset'} has none here.")
    for kind in KINDS:
        if kind == said:
            return kind
    return "file" if directory is not None else usual
