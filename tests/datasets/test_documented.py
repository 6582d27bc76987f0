"""``docs/datasets.md`` agrees with the code about every dataset."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from datasets.index.registry import DatasetInfo, known_data

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def tables() -> list[list[list[str]]]:
    """The cells of every table of the page, without its header."""
    blocks = re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]] for block in blocks
    ]


_, LISTED, LAYOUTS = tables()
ROWS = {row[0].strip("`"): row[1:] for row in LISTED}


def test_every_dataset_is_listed_and_no_other():
    assert list(ROWS) == sorted(known_data())


def test_the_layout_of_every_dataset_is_shown():
    shown = [name for row in LAYOUTS for name in re.findall(r"`([^`]+)`", row[0])]
    missing = [name for name in known_data() if name != "synthetic" and not any(fnmatch(name, s) for s in shown)]
    assert missing == []


@pytest.mark.parametrize("name", sorted(known_data()))
def test_licence_source_and_counts_are_those_of_the_code(name):
    info = known_data()[name]
    _, licence, how, archive, categories, counts = ROWS[name]
    assert licence == info.licence
    if info.archive is not None and info.archive.source:
        assert how == ("fetched by pip" if info.archive.requirement else "fetched")
    elif info.page:
        assert info.page in how
    if info.archive is not None and archive != "the same":
        algorithm, _ = info.archive.checksum or ("no checksum known", "")
        assert archive.startswith(f"`{info.archive.file}`")
        assert archive.endswith(algorithm)
    if isinstance(info, DatasetInfo) and info.counts:
        assert categories == str(len(info.counts))
        assert counts == " / ".join(f"{sum(column):,}" for column in zip(*info.counts.values(), strict=True))
    elif isinstance(info, DatasetInfo) and info.totals:
        assert counts == f"{info.totals[0]:,} training, {info.totals[1]:,} test"
    else:
        assert counts == "not checked"


def test_exit_codes_are_those_of_the_command():
    from bench.commands.data import EXIT_PERSON, EXIT_PROBLEMS
    from bench.errors import EXIT_USER_ERROR

    meanings = {int(row[0]): row[1] for row in tables()[0]}
    assert "no problem" in meanings[0]
    assert "listed" in meanings[EXIT_PROBLEMS]
    assert "could not be obtained" in meanings[EXIT_USER_ERROR]
    assert "a person" in meanings[EXIT_PERSON]
