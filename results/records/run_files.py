"""The files of one run: the record as JSON, and its arrays in ``.npz`` files next to it.

    seed<k>-<score id>.json
    seed<k>-<score id>.scores.npz
    seed<k>-<score id>.maps.npz          (seed 0)

The record holds the SHA-256 of each array file. Arrays are written before the record. If a record is there already, new
arrays get names of their own, ``seed<k>-<score id>.<first 12 digits of the digest>.scores.npz``, so that the old record
and its arrays stay whole until the new record replaces the old one in one step.

A file that can't be read is never overwritten or removed. It is renamed to ``<name>.<8 digits>.unreadable``, and a
warning names it. Rename it back to read it with the version that wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from datasets.storage.atomic import raise_machine_fault, set_aside, write_bytes
from datasets.storage.ordinary_files import read_bytes, require_small
from results.errors import RecordError
from results.records.record import EditedError, RunRecord, decode_record, encode_record

ARRAYS = ("scores", "maps")
"""Kinds of array files, as in their names and in ``RunRecord.arrays``."""
CURVE = "curve/"
_COLUMNS = {"paths": "U", "categories": "U", "labels": "b", "own": "f", "common": "f"}
"""Arrays of a file of scores, and numpy's kind of each."""
_REPEATED = "Start the benchmark again: its run is repeated."
_KEPT = "Its run will be repeated; this file is kept under another name."
_UNLISTED = "The records in it are left out, and their runs count as not recorded. Check its permissions and the disk."
_DIGITS = 12
_MOST_BYTES, _MOST_BYTES_OF_AN_IMAGE = 16 << 20, 64 << 10
"""Largest size of the unpacked arrays: for all curves together, and for each test image. A map has 8 KiB."""


def npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The bytes of an ``.npz`` file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def without_curves(content: bytes) -> bytes:
    """The bytes of a file of scores without its curves: a fifth of the size is left."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return npz({name: archive[name] for name in archive.files if not name.startswith(CURVE)})


def record_files(root: Path, problems: list[tuple[Path, str]]) -> list[Path]:
    """All files below a directory that may be records, sorted; arguments and errors as those of ``files_below``."""
    return [path for path in files_below(root, problems) if path.match("seed*.json")]


def files_below(root: Path, problems: list[tuple[Path, str]]) -> list[Path]:
    """All files below a directory, sorted, without hidden directories. Directories may vanish while they are listed.

    Args:
        root: The directory.
        problems: Receives each directory that can't be listed, with the reason: what it holds is left out.

    Raises:
        StorageError: If the machine opens no more files; otherwise the store would look empty.
    """

    def note(error: OSError) -> None:
        raise_machine_fault(error)
        if not isinstance(error, FileNotFoundError):
            reason = f"{error.filename}: can't be listed ({error.strerror}). {_UNLISTED}"
            problems.append((Path(error.filename), reason))

    found = []
    for directory, names, files in os.walk(root, onerror=note):
        names[:] = [name for name in names if not name.startswith(".")]
        found += [Path(directory, file) for file in files]
    return sorted(found)


def read_record(path: Path) -> RunRecord:
    """Read and validate one record.

    Raises:
        RecordError: If the file can't be read, is cut short, was edited, or does not fit the schema. The message names
            the file.
        StorageError: If the machine opens no more files: the record may be sound.
    """
    try:
        return record_of(read_bytes(path), path)
    except OSError as error:
        raise_machine_fault(error)
        raise RecordError(f"{path}: can't be read ({error.strerror or error}).") from error


def record_of(content: bytes, path: Path) -> RunRecord:
    """Validate the content of the file of a record; ``path`` is its file. Raises as ``read_record`` does."""
    try:
        record = decode_record(content)
    except EditedError as error:
        raise RecordError(f"{path}: {error}. {_KEPT}") from error
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"]) or "the file"
        newer = first["type"] == "extra_forbidden" or entry == "schema_version"
        reason = f"not a valid record ({entry}: {first['msg']})"
        if newer:
            reason = f"{reason}; a newer version of this project may have written it, which can read it"
        raise RecordError(f"{path}: {reason}. {_KEPT}") from error
    if path.name != f"seed{record.seed}-{record.score_id}.json":
        raise RecordError(
            f"{path}: holds the record of another run ({record.score_id}), or is a copy under a name that the store "
            f"does not give. {_KEPT}"
        )
    return record


def array_bytes(path: Path, record: RunRecord, kind: str) -> bytes | None:
    """The bytes of one of a record's array files.

    Args:
        path: JSON file of the record.
        record: The record. One without digests is older than they are; its arrays are taken as they are.
        kind: One of ``ARRAYS``.

    Returns:
        The content; None if the record has no such file.

    Raises:
        RecordError: If the file can't be read, is not the one that the record was written with, or is missing although
            the record has its digest. The message names the file.
    """
    known = record.arrays.get(kind)
    files = [_array_file(path, kind)] if known is None else [_array_file(path, kind, known), _array_file(path, kind)]
    for file in files:
        try:
            content = read_bytes(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise_machine_fault(error)
            raise RecordError(f"{file}: can't be read ({error.strerror or error}). {_REPEATED}") from error
        if known is not None and digest(content) != known:
            raise RecordError(f"{file}: does not match its record: it was changed or cut short. {_REPEATED}")
        return content
    if known is not None:
        raise RecordError(f"{files[-1]}: is missing. {_REPEATED}")
    return None


def arrays_of(
    content: bytes, file: Path, kind: str, record: RunRecord, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, NDArray]:
    """The arrays of a file, checked.

    Args:
        content: Bytes of the file.
        file: The file, for messages.
        kind: One of ``ARRAYS``.
        record: The record that the file belongs to. Its number of test images limits what the file may unpack to.
        wanted: Tells which arrays to read by their names; those that are always needed are read anyway.

    Raises:
        RecordError: If the content is damaged, or an array is missing or has a wrong type or shape.
    """
    needed = set(_COLUMNS if kind == "scores" else ())
    images = sum(result.test_normal + result.test_anomalous for result in record.results.values())
    try:
        require_small(io.BytesIO(content), _MOST_BYTES + images * _MOST_BYTES_OF_AN_IMAGE)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            names = set(archive.files)
            found = {name: archive[name] for name in archive.files if wanted(name) or name in needed}
    except Exception as error:  # numpy may raise nearly anything for a damaged archive, e.g. tokenize.TokenError
        raise RecordError(f"{file}: can't be read ({error}). {_REPEATED}") from error
    if missing := sorted((needed or {"maps"}) - names):
        raise RecordError(f"{file}: lacks {', '.join(missing)}. {_REPEATED}")
    problem = _odd_scores(found) if kind == "scores" else _odd_maps(found)
    if problem:
        raise RecordError(f"{file}: {problem}. {_REPEATED}")
    return found


def has_scores(path: Path) -> bool:
    """Whether a file of scores is next to a record."""
    return any(kind == "scores" for kind, _ in _array_files(path))


def array_problem(path: Path, record: RunRecord) -> tuple[Path, str] | None:
    """The first array file of a record that is damaged or odd, and what is wrong; None if there is none.

    A missing file is a problem if the record has its digest.

    Args:
        path: JSON file of the record.
        record: The record.
    """
    for kind in ARRAYS:
        try:
            content = array_bytes(path, record, kind)
            if content is not None:
                arrays_of(content, _array_file(path, kind), kind, record)
        except RecordError as error:
            return _array_file(path, kind), str(error)
    return None


def write_run(path: Path, record: RunRecord, arrays: Mapping[str, bytes], encoded: bytes | None = None) -> None:
    """Write a record and its arrays. The files that are there stay whole until the record is replaced in one step.

    Args:
        path: JSON file of the record.
        record: The record; the digests of its arrays are set.
        arrays: Content of its array files by kind.
        encoded: Bytes of the JSON file, if the record is copied as it is.

    Raises:
        StorageError: If the directory can't be written.
    """
    _make_room(path)
    occupied = path.exists()
    written: dict[str, Path] = {}
    for kind, content in arrays.items():
        file = _array_file(path, kind)
        if not _holds(file, content):
            if occupied:
                file = _array_file(path, kind, digest(content))
            elif _is_damaged(file, kind, record):
                _set_aside(file)
            if not _holds(file, content):
                write_bytes(file, content)
        written[kind] = file
    named_by_digest = any(file != _array_file(path, kind) for kind, file in written.items())
    if encoded is None or (named_by_digest and not record.arrays):  # a record without digests finds plain names only
        digests = {kind: digest(content) for kind, content in arrays.items()}
        encoded = encode_record(record.model_copy(update={"arrays": digests}))
    write_bytes(path, encoded)
    for kind, file in _array_files(path):
        if file != written.get(kind):
            _drop(file, kind, record)


def remove_replaced_arrays(path: Path, record: RunRecord) -> None:
    """Remove the arrays of an earlier record of a run: a process was killed after it had replaced that record.

    Arrays that are newer than the record stay, because another process may be about to write their record.

    Args:
        path: JSON file of the record.
        record: The record.
    """
    for kind, file in _array_files(path):
        known = record.arrays.get(kind)
        named = _array_file(path, kind, known) if known and _array_file(path, kind, known).exists() else None
        used = named or (_array_file(path, kind) if known or not record.arrays else None)
        if file != used:
            with contextlib.suppress(OSError):  # removed at this moment, or the store may only be read
                if file.stat().st_mtime_ns < path.stat().st_mtime_ns:
                    _drop(file, kind, record)


def _drop(file: Path, kind: str, record: RunRecord) -> None:
    """Remove an array file that no record uses any more; one that can't be read is set aside."""
    if _is_damaged(file, kind, record):
        _set_aside(file)
    else:
        file.unlink(missing_ok=True)


def _make_room(path: Path) -> None:
    """Set a record that can't be read aside, with its arrays: they are renamed first, the record last."""
    try:
        if path.exists():
            read_record(path)
    except RecordError:
        for _, file in _array_files(path):
            _set_aside(file)
        _set_aside(path)


def _set_aside(path: Path) -> None:
    kept = set_aside(path)
    if kept is not None:
        warnings.warn(
            f"{path} can't be read, or belongs to a record that can't. It is kept as {kept.name}.", stacklevel=3
        )


def _array_file(path: Path, kind: str, known: str = "") -> Path:
    return path.with_name(f"{path.stem}{known and '.' + known[:_DIGITS]}.{kind}.npz")


def _array_files(path: Path) -> list[tuple[str, Path]]:
    """(kind, file) of all array files of a run, those that other versions of its record had included."""
    name = re.compile(rf"{re.escape(path.stem)}(\.[0-9a-f]{{{_DIGITS}}})?\.({'|'.join(ARRAYS)})\.npz")
    found = [(name.fullmatch(file.name), file) for file in path.parent.glob(f"{path.stem}.*.npz")]
    return sorted((match[2], file) for match, file in found if match)


def _holds(file: Path, content: bytes) -> bool:
    try:
        return read_bytes(file) == content
    except OSError as error:
        raise_machine_fault(error)
        return False


def _is_damaged(file: Path, kind: str, record: RunRecord) -> bool:
    try:
        arrays_of(read_bytes(file), file, kind, record)
    except FileNotFoundError:
        return False
    except (OSError, RecordError) as error:
        raise_machine_fault(error)
        return True
    return False


def _odd_scores(arrays: Mapping[str, NDArray]) -> str:
    """What is wrong with the arrays of a file of scores; empty if nothing is."""
    images = arrays["paths"].shape
    for name, kind in _COLUMNS.items():
        if arrays[name].dtype.kind != kind or arrays[name].ndim != 1 or arrays[name].shape != images:
            return f"its '{name}' has a wrong type or shape ({arrays[name].dtype}, {arrays[name].shape})"
    if not all(np.isfinite(arrays[name]).all() for name in ("own", "common")):
        return "a score is not a finite number"
    for name, curve in arrays.items():
        if name.startswith(CURVE):
            if curve.dtype.kind != "f" or curve.ndim != 2 or len(curve) != 2 or not curve.size:
                return f"its '{name}' has a wrong type or shape ({curve.dtype}, {curve.shape})"
            if not np.isfinite(curve).all():
                return f"its '{name}' holds a number that is not finite"
    return ""


def _odd_maps(arrays: Mapping[str, NDArray]) -> str:
    """What is wrong with the arrays of a file of maps; empty if nothing is."""
    maps, looks, ends = (arrays.get(name) for name in ("maps", "looks", "look_ends"))
    if maps is not None and (maps.dtype.kind != "f" or maps.ndim != 3 or maps.shape[1:] != (64, 64)):
        return f"its 'maps' have a wrong type or shape ({maps.dtype}, {maps.shape})"
    if (looks is None) != (ends is None):
        return "it holds only half of the rebuilt images"
    if looks is not None and ends is not None:
        sound = looks.dtype == np.uint8 and looks.ndim == 1 and ends.dtype.kind == "i" and ends.ndim == 1
        if not sound or not len(ends) or ends[-1] != len(looks) or ends[0] < 0 or (np.diff(ends) < 0).any():
            return "its rebuilt images have a wrong type or shape"
    return ""


def digest(content: bytes) -> str:
    """SHA-256 of the content of a file, as in ``RunRecord.arrays``."""
    return hashlib.sha256(content).hexdigest()
