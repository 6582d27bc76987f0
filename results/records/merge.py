"""Merges the records of another directory, e.g. another machine's, into a store, and copies single records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datasets.storage.atomic import write_bytes
from results.errors import RecordError, ResultsError
from results.records.record import RunRecord, encode_record
from results.records.store import ARRAYS, Store, read_record, without_curves

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
        unreadable: (file, reason) of their files that are no readable records; they are not copied.
    """

    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


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
    if other.resolve() == store.root.resolve():
        raise ResultsError(f"{other}: is the store itself. Give the directory of the other machine's records.")
    files = [path for path in sorted(other.glob("**/seed*.json")) if not path.name.startswith(".")]
    if not files:
        raise ResultsError(f"{other}: holds no record (files named seed<k>-<id>.json).")
    done = Merged()
    for path in files:
        try:
            theirs = read_record(path)
        except RecordError as error:
            done.unreadable.append((path.relative_to(other).as_posix(), str(error)))
            continue
        _take(theirs, path, store, keep, done)
    _take_pictures(other, store)
    return done


def _take_pictures(other: Path, store: Store) -> None:
    """Copy the pictures of test images that this store lacks: the maps of all runs are shown with them."""
    for path in sorted(other.glob("**/pictures/*.npz")):
        target = store.root.joinpath(*path.parts[-3:])
        if not target.exists():
            write_bytes(target, path.read_bytes())


def _take(theirs: RunRecord, path: Path, store: Store, keep: Keep, done: Merged) -> None:
    target = store.path_of(theirs)
    name = target.relative_to(store.root).as_posix()
    mine = _readable(target)
    if mine is None:  # absent or damaged: its run would be repeated
        copy_run(path, target)
        done.copied.append(name)
    elif mine.comparable() == theirs.comparable():
        done.same.append(name)
    elif mine.status != theirs.status:
        _settle(theirs.status == "ok", path, target, name, done)
    elif keep == "ask":
        done.conflicts.append(name)
    else:
        newer = theirs.provenance.finished_utc > mine.provenance.finished_utc
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


def copy_run(
    source: Path,
    target: Path,
    *,
    maps: bool = True,
    curves: bool = True,
    edit: Callable[[RunRecord], RunRecord] = lambda record: record,
) -> None:
    """Copy a record with its arrays, the JSON file last; arrays that the source lacks are removed at the target.

    Args:
        source: JSON file of the record.
        target: JSON file of the copy.
        maps: Whether to copy the anomaly maps.
        curves: Whether to copy the curves that are stored with the image scores.
        edit: A function that changes the record before it is written.

    Raises:
        RecordError: If the source can't be read.
        StorageError: If the target can't be written.
    """
    record = read_record(source)
    edited = edit(record)
    target.unlink(missing_ok=True)  # a crash must not leave the old record with the new arrays
    for suffix in ARRAYS:
        arrays, copy = source.with_suffix(suffix), target.with_suffix(suffix)
        if arrays.exists() and (maps or suffix != ".maps.npz"):
            content = arrays.read_bytes()
            write_bytes(copy, content if curves else without_curves(content))
        else:
            copy.unlink(missing_ok=True)
    content = source.read_bytes() if edited == record else encode_record(edited)
    write_bytes(target, content)
