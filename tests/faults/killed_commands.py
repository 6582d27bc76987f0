"""The commands that are killed: what each starts from, what it leaves, and what is torn, lost or left behind."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

import bench.execution.cost
import reports.build
from datasets import btad
from datasets.index.registry import find_dataset, register
from results.records.store import Store
from results.records.thumbnails import Pictures, write_pictures
from tests.faults import small_benchmark as small
from tests.support.archives import write_zip, zip_member
from tests.support.checkpoints import small_hvq
from tests.support.miniature_layouts import DEFECTIVE_TEST, GOOD_TEST, TRAIN, write_miniature_btad
from tests.support.records import make_record, make_row, make_scores

Outcome = dict[str, object]


class Command(ABC):
    """A command that writes files.

    Attributes:
        fraction: Part of the command within which each kill is drawn, so that a trial has several.
        code: Exit code of the undisturbed call.
    """

    fraction, code = 1.0, 0

    @abstractmethod
    def prepare(self, place: Path) -> None:
        """Write the files from which the command starts."""

    @abstractmethod
    def arguments(self, place: Path) -> list[str]:
        """The command line."""

    @abstractmethod
    def outcome(self, place: Path) -> Outcome:
        """Everything that the command has made, by name."""

    def setting(self) -> None:
        """What the process changes before the command is called."""
        mpl.use("agg")

    def check(self, place: Path, expected: Outcome) -> list[str]:
        """What is torn after a kill."""
        return []

    def left(self, place: Path) -> list[str]:
        """Files that should be gone when the command has ended."""
        return sorted(path.relative_to(place).as_posix() for path in place.rglob("*.tmp"))


def files_of(place: Path) -> Outcome:
    """The digest of every file below a directory, by name."""
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def store_of(place: Path) -> Outcome:
    """What readers of a store see: each record, and its arrays; and the pictures, cards and studies as they are."""
    store = Store(place)
    found: Outcome = {}
    for path, record in store.items():
        name = path.relative_to(place).as_posix()
        found[name] = json.dumps(record.comparable(), sort_keys=True)
        if record.status == "ok":
            scores = store.scores(record)
            found[f"{name} scores"] = hashlib.sha256(scores.own.tobytes() + scores.common.tobytes()).hexdigest()
            if "maps" in record.arrays:
                found[f"{name} maps"] = hashlib.sha256(store.maps(record).tobytes()).hexdigest()
    others = {name: digest for name, digest in files_of(place).items() if not Path(name).name.startswith(("seed", "."))}
    return found | others


def torn_in_store(place: Path) -> list[str]:
    """Records that are unreadable, or whose arrays are."""
    store = Store(place)
    bad = [str(store.damaged_arrays(record)) for record in store.records() if store.damaged_arrays(record)]
    return bad + [f"{path}: {reason}" for path, reason in store.problems]


def unused_arrays(place: Path) -> list[str]:
    """Array files that belong to no record, and files that were set aside."""
    store = Store(place)
    used: set[Path] = set()
    for path, record in store.items():
        for kind, digest in record.arrays.items():
            named = path.with_name(f"{path.stem}.{digest[:12]}.{kind}.npz")
            used.add(named if named.exists() else path.with_suffix(f".{kind}.npz"))
    arrays = set(place.rglob("seed*.npz"))
    return [str(path) for path in sorted((arrays - used) | set(place.rglob("*.unreadable")))]


class Run(Command):
    """Six short fits: PaDiM and UniAD, whose trainings write checkpoints; fitted states are kept."""

    fraction = 0.25

    def prepare(self, place: Path) -> None:
        small.write_data(place)

    def arguments(self, place: Path) -> list[str]:
        more = ("--jobs", "1", "--keep", "all")
        return small.arguments(place / "folder", place / "runs", place / "cache", *more, steps=8)

    def setting(self) -> None:
        os.environ.update({small.LOG: os.devnull, small.HASTE: "1"})
        small.instrument()
        bench.execution.cost.REPEATS = 1

    def outcome(self, place: Path) -> Outcome:
        states = {name: digest for name, digest in files_of(place / "cache" / "states").items() if "json" not in name}
        return small.outcome(place / "runs") | states

    def check(self, place: Path, expected: Outcome) -> list[str]:
        found = small.outcome(place / "runs") if (place / "runs").exists() else {}
        wrong = [f"{name} differs" for name, content in found.items() if expected.get(name) != content]
        return small.problems(place / "runs") + wrong

    def left(self, place: Path) -> list[str]:
        return super().left(place) + small.garbage(place / "runs", place / "cache") + unused_arrays(place / "runs")


def write_record(store: Store, record, *, shift: float = 1.5, maps: bool = True) -> None:
    scores = make_scores(record, shift=shift)
    drawn = np.random.default_rng([record.seed, int(10 * shift)]).random((len(scores.own), 64, 64))
    store.write(record, scores, drawn.astype(np.float16) if maps and record.seed == 0 else None)


def a_picture(name: str) -> Pictures:
    jpeg = np.random.default_rng(len(name)).bytes(3000)
    return Pictures("f" * 64, (f"{name}.png",), ("good",), (jpeg,), np.zeros((1, 128, 128), dtype=bool))


class Merge(Command):
    """Another machine's records: new ones, equal ones, finished ones for failed ones, and others that replace mine."""

    def prepare(self, place: Path) -> None:
        mine, theirs = Store(place / "mine"), Store(place / "theirs")
        for record in make_row(seeds=(0, 1)):
            if record.setting == "unified" or record.seed == 0:
                other = record.seed == 0
                write_record(
                    theirs, record.model_copy(update={"pooled": {"I-AUROC": 0.7}}) if other else record, shift=2
                )
                if record.setting == "separate":
                    write_record(mine, record)
        write_record(mine, make_record(seed=1, setting="separate", category="cloth"))
        failed = make_record(seed=1, failed=True)
        mine.write(failed)
        for name in ("bolt", "cloth"):
            write_pictures(theirs, "toy", name, a_picture(name))

    def arguments(self, place: Path) -> list[str]:
        return ["merge", str(place / "theirs"), "--keep", "theirs", "--results-dir", str(place / "mine")]

    def outcome(self, place: Path) -> Outcome:
        return store_of(place / "mine") | {
            f"theirs/{name}": found for name, found in files_of(place / "theirs").items()
        }

    def check(self, place: Path, expected: Outcome) -> list[str]:
        lost = [name for name in self.before(place) if not (place / "mine" / name).exists()]
        return torn_in_store(place / "mine") + torn_in_store(place / "theirs") + lost

    def before(self, place: Path) -> list[str]:
        if not hasattr(self, "_before"):
            with tempfile.TemporaryDirectory() as fresh:
                self.prepare(Path(fresh))
                self._before = [
                    p.relative_to(Path(fresh) / "mine").as_posix() for p in Path(fresh, "mine").rglob("seed*.json")
                ]
        return self._before

    def left(self, place: Path) -> list[str]:
        return super().left(place) + unused_arrays(place / "mine")


class Export(Command):
    """Records that are copied out, over older ones of another content."""

    def prepare(self, place: Path) -> None:
        store, out = Store(place / "runs"), Store(place / "out")
        for record in make_row(seeds=(0, 1)):
            write_record(store, record)
        for record in make_row(seeds=(0,)):
            write_record(out, record.model_copy(update={"pooled": {"I-AUROC": 0.7}}), shift=2, maps=False)

    def arguments(self, place: Path) -> list[str]:
        return ["export", "--out", str(place / "out"), "--results-dir", str(place / "runs")]

    def outcome(self, place: Path) -> Outcome:
        return store_of(place / "out") | store_of(place / "runs")

    def check(self, place: Path, expected: Outcome) -> list[str]:
        return torn_in_store(place / "out") + torn_in_store(place / "runs")

    def left(self, place: Path) -> list[str]:
        return super().left(place) + unused_arrays(place / "out")


class Report(Command):
    """The site, over an older one with a gallery that is gone."""

    more: tuple[str, ...] = ()

    def prepare(self, place: Path) -> None:
        store = Store(place / "runs")
        for record in make_row(seeds=(0, 1), set_categories=("bolt", "cloth")):
            write_record(store, record)
        write_pictures(store, "toy", "bolt", a_picture("bolt"))
        reports.build.build(store, place / "site")
        (place / "site" / "gallery-gone.html").write_text("<html></html>")
        write_record(store, make_record(seed=2, set_categories=("bolt", "cloth"), value=0.7))

    def arguments(self, place: Path) -> list[str]:
        where = ["--results-dir", str(place / "runs"), "--reference-dir", str(place / "none")]
        return ["report", *where, "--site", str(place / "site"), *self.more]

    def outcome(self, place: Path) -> Outcome:
        return files_of(place)

    def check(self, place: Path, expected: Outcome) -> list[str]:
        pages = sorted((place / "site").glob("*.html"))
        return torn_in_store(place / "runs") + [
            f"{page.name} is torn" for page in pages if not page.read_text().rstrip().endswith("</html>")
        ]


class SingleFile(Report):
    """The site in one file."""

    more = ("--single-file",)


class Unpack(Command):
    """A dataset whose archive a person has put there."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            original = write_miniature_btad(Path(scratch) / "original")
            files = sorted(path for path in original.rglob("*") if path.is_file())
            members = [zip_member(path.relative_to(original).as_posix(), path.read_bytes()) for path in files]
            self.archive = write_zip(Path(scratch) / "set.zip", *members).read_bytes()

    def prepare(self, place: Path) -> None:
        (place / "data").mkdir()
        (place / "data" / btad.ARCHIVE.file).write_bytes(self.archive)

    def arguments(self, place: Path) -> list[str]:
        return ["data", "btad", "--root", str(place / "data"), "--yes"]

    def setting(self) -> None:
        real = find_dataset("btad")
        archive = replace(btad.ARCHIVE, sha256=hashlib.sha256(self.archive).hexdigest())
        counts = dict.fromkeys(("01", "02"), (TRAIN, GOOD_TEST, DEFECTIVE_TEST))
        register(replace(real, archive=archive, counts=counts))

    def outcome(self, place: Path) -> Outcome:
        return {name: digest for name, digest in files_of(place).items() if not name.endswith(".lock")}


class Score(Command):
    """Maps, image scores and overlays of three images, and the detector in this project's format."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            self.checkpoint = small_hvq(Path(scratch) / "h.safetensors").read_bytes()

    def prepare(self, place: Path) -> None:
        (place / "h.safetensors").write_bytes(self.checkpoint)
        (place / "images").mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "images" / f"{number}.png")

    def arguments(self, place: Path) -> list[str]:
        where = ["--images", str(place / "images"), "--out", str(place / "out"), "--save", str(place / "s.safetensors")]
        return ["score", "--checkpoint", str(place / "h.safetensors"), *where]

    def outcome(self, place: Path) -> Outcome:
        return files_of(place)

    def check(self, place: Path, expected: Outcome) -> list[str]:
        found = {name: digest for name, digest in files_of(place).items() if not name.endswith(".tmp")}
        return [f"{name} is torn" for name, digest in found.items() if expected.get(name) != digest]


COMMANDS: dict[str, tuple[type[Command], float]] = {
    "run": (Run, 0.5),
    "merge": (Merge, 0.12),
    "export": (Export, 0.06),
    "report": (Report, 0.08),
    "single file": (SingleFile, 0.04),
    "data": (Unpack, 0.1),
    "score": (Score, 0.1),
}
"""The commands, and their parts of all kills."""


def differing(one: Outcome, other: Outcome) -> list[str]:
    return [name for name in {*one, *other} if one.get(name) != other.get(name)][:8]
