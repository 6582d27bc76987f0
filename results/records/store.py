"""The store of records: one JSON file per run, written atomically, with its arrays in files next to it.

    <root>/<dataset>/<setting>/<method>/<category | all-<set id>>/seed<k>-<score id>.json
                                                                 seed<k>-<score id>.scores.npz
                                                                 seed<k>-<score id>.maps.npz    (seed 0)
    <root>/<dataset>/pictures/<category>.npz                                    (see ``results.records.thumbnails``)

The arrays are written first and the JSON file last, so a JSON file means a complete run (see
``results.records.run_files``). A file that can't be read is reported in ``problems`` and counts as absent: its run is
repeated, it is never averaged. Before the new record is written, the old file is kept under another name.

Byte strings, e.g. JPEG files, are stored as two arrays of an ``.npz`` file: all bytes, and where each string ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from results.errors import RecordError
from results.records.record import DatasetEntry, MethodEntry, RunRecord
from results.records.run_files import (
    CURVE,
    array_bytes,
    array_problem,
    arrays_of,
    npz,
    read_record,
    record_files,
    remove_replaced_arrays,
    write_run,
)

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class Placed(Protocol):
    """The fields that decide where a record is stored. Records and planned runs have them."""

    @property
    def dataset(self) -> DatasetEntry: ...  # noqa: D102
    @property
    def setting(self) -> str: ...  # noqa: D102
    @property
    def categories(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def method(self) -> MethodEntry: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def score_id(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Scores:
    """Per-image results of a run: every image metric can be recomputed from them.

    Attributes:
        paths: (n,) path of each test image relative to the dataset's root.
        categories: (n,) category of each image.
        labels: (n,) bool, True for anomalous.
        own: (n,) float32 image scores by the detector's own rule.
        common: (n,) float32 image scores by the harness's rule for all detectors.
        curves: Curves by ``"<category>/<curve name>"``, each (2, at most 200) float32.
    """

    paths: NDArray[np.str_]
    categories: NDArray[np.str_]
    labels: NDArray[np.bool_]
    own: NDArray[np.float32]
    common: NDArray[np.float32]
    curves: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def portable(name: str) -> str:
    """A file name that is made from ``name`` and valid on every file system."""
    return _UNSAFE.sub("-", name).strip("-.") or "unnamed"


@dataclass
class Store:
    """Records under one or several root directories. If several have a run, the first that can be read counts.

    Attributes:
        root: Where new records are written.
        also: Further directories that are only read (e.g. the committed ``results/reference``).
        problems: (file, reason) of every file that the last reading could not use.
    """

    root: Path
    also: tuple[Path, ...] = ()
    problems: list[tuple[Path, str]] = field(default_factory=list)

    def path_of(self, record: Placed) -> Path:
        """Path under ``root`` of the JSON file of a record or of a planned run."""
        part = f"all-{record.dataset.set_id}" if record.setting == "unified" else record.categories[0]
        directory = self.root / portable(record.dataset.name) / record.setting / portable(record.method.name)
        return directory / portable(part) / f"seed{record.seed}-{record.score_id}.json"

    def write(
        self,
        record: RunRecord,
        scores: Scores | None = None,
        maps: NDArray[np.float16] | None = None,
        looks: Sequence[bytes] = (),
    ) -> Path:
        """Write a run: arrays first, the JSON file last, each atomically.

        Args:
            record: The record.
            scores: Per-image scores and curves; None for a failed run.
            maps: (n, 64, 64) float16 anomaly maps of all test images, for the gallery.
            looks: JPEG bytes of the n rebuilt images, for methods that rebuild features; stored with the maps.

        Returns:
            Path of the JSON file.

        Raises:
            StorageError: If the directory can't be written.
        """
        arrays: dict[str, bytes] = {}
        if scores is not None:
            columns = {
                "paths": scores.paths,
                "categories": scores.categories,
                "labels": scores.labels,
                "own": scores.own,
                "common": scores.common,
            }
            curves = {f"{CURVE}{name}": curve for name, curve in sorted(scores.curves.items())}
            arrays["scores"] = npz({**columns, **curves})
        if maps is not None:
            images, ends = pack_bytes(looks)
            kept: dict[str, NDArray[np.generic]] = {"looks": images, "look_ends": ends} if looks else {}
            arrays["maps"] = npz({"maps": maps, **kept})
        path = self.path_of(record)
        write_run(path, record, arrays)
        return path

    def files(self) -> Iterator[tuple[Path, ...]]:
        """The JSON files of each run, in the order in which they count: that of ``root``, then those of ``also``.

        Sorted by root, then by path below it.
        """
        found: dict[str, list[Path]] = {}
        for root in (self.root, *self.also):
            for path in record_files(root, self.problems):
                found.setdefault(path.relative_to(root).as_posix(), []).append(path)
        yield from map(tuple, found.values())

    def records(self) -> list[RunRecord]:
        """All readable records, sorted by path. Unreadable files are left out and named in ``problems``."""
        return [record for _, record in self.items()]

    def items(self) -> list[tuple[Path, RunRecord]]:
        """The same as ``records``, each record with its file."""
        self.problems.clear()
        found = []
        for paths in self.files():
            for path in paths:
                try:
                    found.append((path, self._read(path)))
                    break
                except RecordError as error:
                    if not isinstance(error.__cause__, FileNotFoundError):  # removed or renamed since it was listed
                        self.problems.append((path, str(error)))
        return found

    def _read(self, path: Path) -> RunRecord:
        record = read_record(path)
        if self.path_of(record).relative_to(self.root).parts != path.parts[-5:]:
            raise RecordError(f"{path}: a copy of a record at a place that the store does not give: left out.")
        return record

    def is_finished(self, record: Placed) -> bool:
        """Whether ``root`` has a readable record of a run, and the run had not failed."""
        path = self.path_of(record)
        try:
            return path.exists() and read_record(path).status == "ok"
        except RecordError:
            return False

    def scores(self, record: RunRecord, curves: Collection[str] | None = None) -> Scores:
        """The per-image scores of a run.

        Args:
            record: The record of the run.
            curves: Names of the curves to read with them, e.g. ``("pro",)``; None for all.

        Raises:
            RecordError: If the file is absent or can't be read.
        """

        def wanted(name: str) -> bool:
            return curves is None or not name.startswith(CURVE) or name.rpartition("/")[2] in curves

        arrays = self._arrays(record, "scores", wanted)
        return Scores(
            paths=arrays["paths"],
            categories=arrays["categories"],
            labels=arrays["labels"],
            own=arrays["own"],
            common=arrays["common"],
            curves={name.removeprefix(CURVE): a for name, a in arrays.items() if name.startswith(CURVE)},
        )

    def maps(self, record: RunRecord) -> NDArray[np.float16]:
        """The (n, 64, 64) anomaly maps of a run of seed 0, in the order of its scores.

        Raises:
            RecordError: If the file is absent or can't be read.
        """
        maps: NDArray[np.float16] = self._arrays(record, "maps", lambda name: name == "maps")["maps"]
        return maps

    def looks(self, record: RunRecord) -> tuple[bytes, ...]:
        """JPEG bytes of the rebuilt test images of a run of seed 0, in the order of its scores; empty without any.

        Raises:
            RecordError: If the file is absent or can't be read.
        """
        arrays = self._arrays(record, "maps", lambda name: name != "maps")
        return unpack_bytes(arrays["looks"], arrays["look_ends"]) if "looks" in arrays else ()

    def damaged_arrays(self, record: RunRecord) -> tuple[Path, str] | None:
        """The first array file of a record under ``root`` that was cut short or changed, and what is wrong.

        None if all files are intact. A missing file is reported if the record has its digest. Every byte of the files
        is read (a millisecond per run).
        """
        return array_problem(self.path_of(record), record)

    def remove_replaced_arrays(self, record: RunRecord) -> None:
        """Remove the arrays under ``root`` that an earlier record of this run left; see ``run_files``."""
        remove_replaced_arrays(self.path_of(record), record)

    def _arrays(self, record: RunRecord, kind: str, wanted: Callable[[str], bool]) -> dict[str, NDArray]:
        relative = self.path_of(record).relative_to(self.root)
        for root in (self.root, *self.also):
            path = root / relative
            if not path.exists():
                continue
            file = path.with_suffix(f".{kind}.npz")
            try:
                content = array_bytes(path, record, kind)
                if content is not None:
                    return arrays_of(content, file, kind, record, wanted)
            except RecordError as error:
                if _is_unreadable(path):  # its arrays belong to a record that was not read
                    continue
                if (problem := (file, str(error))) not in self.problems:
                    self.problems.append(problem)
                raise
            if not _is_unreadable(path):  # the arrays of another root belong to another record of this run
                break
        raise RecordError(f"{self.root / relative}: its '.{kind}.npz' file is missing. Repeat the run with --force.")


def _is_unreadable(path: Path) -> bool:
    try:
        read_record(path)
    except RecordError:
        return True
    return False


def newest_versions(records: Iterable[RunRecord]) -> dict[str, int]:
    """The highest ``version`` of each method among the records. Records of older versions are stale, never averaged."""
    versions: dict[str, int] = {}
    for record in records:
        versions[record.method.name] = max(versions.get(record.method.name, 0), record.method.version)
    return versions


def pack_bytes(pieces: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pack byte strings: all bytes in one array, and where each string ends."""
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), ends


def unpack_bytes(everything: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[bytes, ...]:
    """Unpack the byte strings that were packed by ``pack_bytes``."""
    starts = [0, *ends[:-1].tolist()]
    return tuple(everything[start:end].tobytes() for start, end in zip(starts, ends.tolist(), strict=True))
