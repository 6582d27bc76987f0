"""Merges the records of another directory, e.g. another machine's, into a store, and copies single records."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datasets.storage.atomic import raise_machine_fault, write_bytes
from datasets.storage.ordinary_files import read_bytes
from results.errors import RecordError, ResultsError
from results.records.record import RunRecord, by_date
from results.records.run_files import (
    ARRAYS,
    array_bytes,
    arrays_of,
    digest,
    files_below,
    has_scores,
    read_record,
    record_files,
    record_of,
    remove_replaced_arrays,
    without_curves,
    write_run,
)
from results.records.store import Store
from results.records.thumbnails import pictures_of

Keep = Literal["ask", "mine", "theirs", "newest"]
KEEPS: tuple[Keep, ...] = ("ask", "mine", "theirs", "newest")


@dataclass
class Merged:
    """What a merge did, as paths relative to the store. "Theirs" are the records of the other directory.

    Attributes:
        copied: Records that this store did not have.
        same: Records that both have with the same outcome; this store's stays, with its cost and provenance.
        replaced: Records of this store that were replaced by theirs.
        kept: Records of this store that stayed although theirs differ.
        conflicts: Runs with two different outcomes. Both records stay as they are, because no choice was given.
        unreadable: (file, reason) of their records and pictures that can't be read, or whose arrays can't; they are not
            copied, and this store's records stay.
        dated: A sentence for each conflict that the dates decided.
    """

    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    dated: list[str] = field(default_factory=list)


def merge(other: Path, store: Store, keep: Keep = "ask") -> Merged:
    """Merge the records below ``other`` into a store.

    A run is identified by its ids, so its file has the same name everywhere. If both directories have a run, these
    rules apply. A finished run wins over a failed one. If the outcomes are equal (cost and provenance not compared),
    this store's record stays. If they differ, this is a conflict, and nothing is changed unless ``keep`` says which
    record wins.

    Args:
        other: Directory of records, searched with all its subdirectories.
        store: The store that receives them; its reference directories are neither read nor written.
        keep: ``ask`` reports conflicts, ``mine``, ``theirs`` and ``newest`` (by the end of the run) resolve them.

    Raises:
        ResultsError: If ``other`` is no directory, holds no record file, or is the store itself.
        StorageError: If the store can't be written.
    """
    if not other.is_dir():
        raise ResultsError(f"{other}: no such directory. Give the directory of the other machine's records.")
    if os.path.realpath(other) == os.path.realpath(store.root):
        raise ResultsError(f"{other}: is the store itself. Give the directory of the other machine's records.")
    done, unlisted = Merged(), list[tuple[Path, str]]()
    files = record_files(other, unlisted)
    done.unreadable += [(path.relative_to(other).as_posix(), reason) for path, reason in unlisted]
    if not files and not unlisted:
        raise ResultsError(f"{other}: holds no record (files named seed<k>-<id>.json).")
    for path in files:
        try:
            _take(read_record(path), path, store, keep, done)
        except RecordError as error:  # what this store has stays
            done.unreadable.append((path.relative_to(other).as_posix(), str(error)))
    _take_pictures(other, store, done)
    return done


def _take_pictures(other: Path, store: Store, done: Merged) -> None:
    """Copy the pictures of test images that this store lacks: the maps of all runs are shown with them."""
    for path in files_below(other, []):  # directories that can't be listed were noted when records were listed
        if not path.match("pictures/*.npz"):
            continue
        target = store.root.joinpath(*path.parts[-3:])
        if target.exists():
            continue
        try:
            content = _content(path)
            pictures_of(content)
        except Exception as error:  # damaged, or something else: numpy may then raise nearly anything
            raise_machine_fault(error)
            done.unreadable.append((path.relative_to(other).as_posix(), f"not the pictures of a category ({error})"))
        else:
            write_bytes(target, content)


def _take(theirs: RunRecord, path: Path, store: Store, keep: Keep, done: Merged) -> None:
    target = store.path_of(theirs)
    name = target.relative_to(store.root).as_posix()
    mine = _readable(target)
    if mine is None:  # absent or damaged: its run would be repeated
        copy_run(path, target)
        done.copied.append(name)
    elif mine.comparable() == theirs.comparable():
        remove_replaced_arrays(target, mine)  # an earlier merge may have been killed
        done.same.append(name)
    elif mine.status != theirs.status:
        _settle(theirs.status == "ok", path, target, name, done)
    elif keep == "ask":
        done.conflicts.append(name)
    else:
        newer = by_date(theirs) > by_date(mine)
        if keep == "newest":
            done.dated.append(
                f"{name}: yours is of {mine.provenance.finished_utc}, theirs of {theirs.provenance.finished_utc}; "
                f"{'theirs' if newer else 'yours'} is kept as the newer one (a date in the future counts as the oldest)"
            )
        _settle(keep == "theirs" or (keep == "newest" and newer), path, target, name, done)


def _settle(theirs_wins: bool, path: Path, target: Path, name: str, done: Merged) -> None:
    if theirs_wins:
        copy_run(path, target)
    (done.replaced if theirs_wins else done.kept).append(name)


def _readable(path: Path) -> RunRecord | None:
    try:
        return read_record(path) if path.exists() else None
    except RecordError:
        return None


def _content(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        raise_machine_fault(error)
        raise RecordError(f"{file}: can't be read ({error.strerror or error}).") from error


def copy_run(
    source: Path,
    target: Path,
    *,
    maps: bool = True,
    curves: bool = True,
    edit: Callable[[RunRecord], RunRecord] = lambda record: record,
) -> None:
    """Copy a record with its arrays. All files that are copied are read and checked before the target is changed.

    Args:
        source: JSON file of the record.
        target: JSON file of the copy. A readable record there is replaced in one step; one that can't be read is kept
            under another name. Arrays that the source lacks are removed once the record is replaced.
        maps: Whether to copy the anomaly maps.
        curves: Whether to copy the curves that are stored with the image scores.
        edit: A function that changes the record before it is written.

    Raises:
        RecordError: If a file of the source can't be read, or the source lacks the scores that the target has.
        StorageError: If the target can't be written.
    """
    encoded = _content(source)
    record = record_of(encoded, source)
    contents: dict[str, bytes] = {}
    for kind in ARRAYS if maps else ("scores",):
        content = array_bytes(source, record, kind)
        file = source.with_suffix(f".{kind}.npz")
        if content is not None:
            arrays_of(content, file, kind, record)
            contents[kind] = content if curves or kind == "maps" else without_curves(content)
        elif content is None and kind == "scores" and record.status == "ok" and has_scores(target):
            raise RecordError(f"{file}: is missing, and the record that would be replaced has its scores.")
    edited = edit(record)
    if record.arrays:
        edited = edited.model_copy(update={"arrays": {kind: digest(content) for kind, content in contents.items()}})
    write_run(target, edited, contents, encoded if edited == record else None)
