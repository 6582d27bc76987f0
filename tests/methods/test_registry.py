"""The registry imports only modules of detectors, and the committed cards equal the detectors' descriptions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from methods.registry import card_of, known_detectors
from results.errors import RecordError
from results.records.method_card import keep_card, known_cards, read_card

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def test_only_the_module_of_detectors_of_a_folder_is_imported(tmp_path, monkeypatch):
    files = (
        "__init__",
        "plain",
        "one/__init__",
        "one/detector",
        "several/__init__",
        "several/detectors",
        "none/__init__",
    )
    for name in (*files, "one/network", "none/pretrain"):
        file = tmp_path / "made_up_methods" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.syspath_prepend(tmp_path)
    known_detectors(("made_up_methods",))
    imported = {name.removeprefix("made_up_methods.") for name in sys.modules if name.startswith("made_up_methods.")}
    assert imported == {"plain", "one", "one.detector", "several", "several.detectors", "none"}


def test_the_committed_cards_are_those_of_the_detectors():
    """If this fails, ``python -m bench export --reference`` after a run, or ``keep_card``, writes the cards.

    A method without committed records has no card.
    """
    committed, detectors = known_cards([REFERENCE]), known_detectors()
    assert len(committed) >= 16
    assert committed == {name: card_of(detectors[name].info) for name in committed}


def test_the_newest_version_counts_and_other_files_are_left_out(tmp_path):
    card = card_of(known_detectors()["padim"].info)
    old, new = card.model_copy(update={"version": 1}), card.model_copy(update={"version": 7})
    keep_card(tmp_path / "mine", old)
    path = keep_card(tmp_path / "theirs", new)
    assert known_cards([tmp_path / "mine", tmp_path / "theirs", tmp_path / "absent"]) == {"padim": new}
    before = path.stat().st_mtime_ns
    keep_card(tmp_path / "theirs", new)
    assert path.stat().st_mtime_ns == before
    path.write_text('{"name": "padim"}')
    assert known_cards([tmp_path / "theirs"]) == {}
    with pytest.raises(RecordError, match=r"padim\.json: not a method's card"):
        read_card(path)
