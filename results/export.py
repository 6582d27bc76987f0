"""Writes the small set of records that a project commits: what its tables show, without the gallery's maps."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection
from pathlib import Path

from datasets.errors import unknown_name
from results.errors import RecordError, ResultsError
from results.leaderboard import leaderboard_of
from results.records.merge import copy_run
from results.records.method_card import keep_card, known_cards
from results.records.record import RunRecord
from results.records.store import Store

_LOCAL = frozenset({"--results-dir", "--reference-dir", "--cache-dir", "--data-dir", "--site"})
"""Options that only say where a machine keeps its files."""


def export(
    store: Store, out: Path, datasets: Collection[str] = (), methods: Collection[str] = (), *, complete: bool = False
) -> list[Path]:
    """Copy the current, finished records of a store with the cards of their methods.

    Not copied: failed runs, stale versions, maps, the curves of levels of ablation studies, and the options of the
    commands that only say where data, caches and results are stored.

    Args:
        store: The store to copy from.
        out: Directory of the copies, e.g. ``results/reference``; other files in it stay.
        datasets: Names of the datasets to copy; empty for all.
        methods: Names of the methods to copy; empty for all.
        complete: Whether to copy only rows that have every run of the settings that they were run in.

    Returns:
        The JSON files that were written or were equal already, sorted. What can't be read is left out and named in the
        store's ``problems``.

    Raises:
        UnknownNameError: For a dataset or method that the store does not have.
        ResultsError: If nothing fits.
        StorageError: If a file can't be written.
    """
    wanted: dict[str, bool] = {}  # by file: whether its curves are copied too
    board = leaderboard_of(store)
    rows = (*board.rows, *board.levels)
    levels = set(map(id, board.levels))
    _require(datasets, {row.dataset.name for row in rows}, "dataset")
    _require(methods, {row.method.name for row in rows}, "method")
    for row in rows:
        fits = (not datasets or row.dataset.name in datasets) and (not methods or row.method.name in methods)
        if fits and (not complete or row.complete):
            names = [store.path_of(r).relative_to(store.root).as_posix() for r in row.records if r.status == "ok"]
            wanted |= dict.fromkeys(names, id(row) not in levels)
    if not wanted:
        raise ResultsError("No finished run fits: nothing to export.")
    written, unreadable = [], []
    studies = [problem for problem in store.problems if problem[0].suffix == ".toml"]  # the next reading drops them
    for path, record in store.items():
        name = store.path_of(record).relative_to(store.root).as_posix()
        if name in wanted:
            target = out / name
            try:
                if os.path.realpath(path) != os.path.realpath(target):
                    copy_run(path, target, maps=False, curves=wanted[name], edit=_without_local_paths)
            except RecordError as error:
                unreadable.append((path, str(error)))
            else:
                written.append(target)
    store.problems += unreadable + studies
    shown = {row.method.name for row in rows}
    for card in known_cards((store.root, *store.also)).values():
        if card.name in shown and (not methods or card.name in methods):
            keep_card(out, card)
    return sorted(written)


def _require(names: Collection[str], known: Collection[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise unknown_name(what, name, known)


def _without_local_paths(record: RunRecord) -> RunRecord:
    arguments = iter(shlex.split(record.provenance.command))
    kept = []
    for argument in arguments:
        name, assigned, _ = argument.partition("=")
        if name in _LOCAL:
            if not assigned:
                next(arguments, None)
        else:
            kept.append(argument)
    command = shlex.join(kept)
    return record.model_copy(update={"provenance": record.provenance.model_copy(update={"command": command})})
