"""The card of a method, stored with the records of its runs: the page is made without importing any detector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datasets.storage.atomic import raise_machine_fault, set_aside, write_bytes
from datasets.storage.ordinary_files import read_bytes
from results.errors import RecordError
from results.records.store import portable

KEPT = "methods"
"""Directory of the cards in a store."""


class MethodCard(BaseModel):
    """The description of a method.

    Attributes:
        name: Name on the command line.
        title: Name as the field writes it.
        family: Family of methods, e.g. ``memory bank``.
        designed_for: The setting that it was published for.
        paper: Authors, title and venue of the paper.
        year: Year of publication.
        url: Address of the paper.
        version: Version of the code that made the newest records.
        class_aware: Whether it may use the known category of an image.
        deviations: Differences from the paper; empty if there are none.
        presets: Sources of the values of each preset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    family: str
    designed_for: Literal["unified", "separate"]
    paper: str
    year: int
    url: str = Field(pattern=r"^(https?://|$)")  # a page links to it: no javascript:
    version: int
    class_aware: bool = False
    deviations: str = ""
    presets: dict[str, str] = {}


def keep_card(root: Path, card: MethodCard) -> Path:
    """Write a card next to the records; an equal one that is there already is not written again.

    A card that can't be read is kept under another name.

    Raises:
        StorageError: If the directory can't be written.
    """
    path = root / KEPT / f"{portable(card.name)}.json"
    content = (card.model_dump_json(indent=1) + "\n").encode()
    if path.exists():
        try:
            if read_card(path) == card:
                return path
        except RecordError:
            set_aside(path)
    write_bytes(path, content)
    return path


def known_cards(roots: Iterable[Path], problems: list[tuple[Path, str]] | None = None) -> dict[str, MethodCard]:
    """All readable cards by name of the method: the newest version, and the first of equal versions.

    Args:
        roots: Directories of records.
        problems: Gets (file, reason) of the cards that can't be read; they are left out.
    """
    found: dict[str, MethodCard] = {}
    for path in (path for root in roots for path in sorted((root / KEPT).glob("*.json"))):
        try:
            card = read_card(path)
        except RecordError as error:
            if problems is not None:
                problems.append((path, str(error)))
            continue
        if card.name not in found or card.version > found[card.name].version:
            found[card.name] = card
    return found


def read_card(path: Path) -> MethodCard:
    """Read one card.

    Raises:
        RecordError: If the file can't be read or is no card. The message names the file.
    """
    try:
        return MethodCard.model_validate_json(read_bytes(path))
    except OSError as error:
        raise_machine_fault(error)
        raise RecordError(f"{path}: can't be read ({error.strerror or error}).") from error
    except ValidationError as error:
        raise RecordError(
            f"{path}: not a method's card ({error.errors()[0]['msg']}). The next run of the method writes it again."
        ) from error
