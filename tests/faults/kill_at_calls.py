"""Kills every command that writes at calls of the file system, and checks what is left each time.

    python -m tests.faults.kill_at_calls [--kills 200] [--seed 0] [--commands run,merge]

A trial starts from the same files as an undisturbed call, and kills the command once or several times: just before its
n-th call that changes a file or a directory, in the middle of writing a file that is being synchronised (half of its
bytes are cut off), or at a random moment. Then the command is started again until it ends. After every kill each
record and each file that has its final name is whole, and no earlier record is gone. After the last call everything
equals what the undisturbed call left, byte by byte (of records: except cost and provenance), and no temporary file,
claim or checkpoint is left. A fault does not end the program: it prints each one, and its counts as one line of JSON.

Processes are forked from this one, which has imported everything, so a kill does not cost a start of Python.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: forked processes must not inherit a pool of threads

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
from tests.faults.kill_at_random import FaultError, start, wait
from tests.support.archives import write_zip, zip_member
from tests.support.checkpoints import small_hvq
from tests.support.miniature_layouts import DEFECTIVE_TEST, GOOD_TEST, TRAIN, write_miniature_btad
from tests.support.records import make_record, make_row, make_scores

LIMIT_SECONDS = 600.0
CHANGES = {"os.mkdir", "os.rmdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.utime"}
"""Audit events of calls that change the file system. Files that are opened for writing count too."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Outcome = dict[str, object]


# Kills at calls


def die_at(call: int, work: Path, tally: Path | None = None) -> Callable[[], None]:
    """Make a function that lets its process kill itself at its n-th call that changes something below ``work``.

    Opening a file for writing counts twice, before and after it; synchronising one counts once, and cuts it.

    Args:
        call: Number of the call, from 1; 0 for never.
        work: Directory whose changes are counted.
        tally: A file that gets the number of the calls and the imported modules, if the process ends by itself.
    """
    place, seen = os.fspath(work), 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            one_more(args[0])

    def one_more(path: object) -> None:
        nonlocal seen
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if name.startswith(place) or not name.startswith("/"):  # relative names are those of a descriptor
                seen += 1
                if seen == call:
                    os.kill(os.getpid(), signal.SIGKILL)

    def install() -> None:
        synchronise, open_file = os.fsync, io.open

        def torn(descriptor: int) -> None:
            nonlocal seen
            seen += 1
            if seen == call:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            synchronise(descriptor)

        def opened(file, mode="r", *args, **options):
            stream = open_file(file, mode, *args, **options)
            if set(mode) & set("wax+"):
                one_more(file)  # the file is there, and empty if it is new
            return stream

        os.fsync, io.open, builtins.open = torn, opened, opened
        sys.addaudithook(count)
        if tally is not None:
            leave = os._exit

            def note(code: int) -> None:
                number = seen
                tally.write_text(json.dumps([number, sorted(sys.modules)]))
                leave(code)

            os._exit = note

    return install


# Commands


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


# Trials


def call(command: Command, place: Path, output: Path, dies: Callable[[], None]) -> int:
    """Fork a process that calls the command."""

    def before() -> None:
        dies()
        command.setting()

    return start(command.arguments(place), output, before)


def finish(process: int, output: Path) -> int:
    """Wait for a process; a process that does not end is killed.

    Raises:
        FaultError: If it does not end.
    """
    code = wait(process, LIMIT_SECONDS)
    if code is None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise FaultError(f"no end within {LIMIT_SECONDS} s: {output.read_text(errors='replace')[-1500:]}")
    return code


class Target:
    """A command with the outcome of its undisturbed call.

    Args:
        command: The command.
        work: Directory for everything that is written.
    """

    def __init__(self, command: Command, work: Path) -> None:
        self.command, self.work, self.output = command, work, work / "output"
        # Every trial is at the same place, because paths are a part of what some commands write.
        self.place, self.fresh = work / "place", work / "fresh"
        self.fresh.mkdir(parents=True)
        command.prepare(self.fresh)
        outcomes = []
        for _ in range(2):
            self._begin()
            tally = work / "tally"
            began = time.monotonic()
            code = finish(call(command, self.place, self.output, die_at(0, self.place, tally)), self.output)
            self.seconds = time.monotonic() - began
            if code != command.code:
                raise FaultError(f"the undisturbed call failed with {code}: {self.output.read_text()[-2000:]}")
            self.calls, modules = json.loads(tally.read_text())
            for name in modules:  # the processes that are forked later need not import them again
                if name not in sys.modules and name.partition(".")[0] not in ("tests", "__mp_main__"):
                    with contextlib.suppress(ImportError):
                        importlib.import_module(name)
            outcomes.append(command.outcome(self.place))
            if command.left(self.place):
                raise FaultError(f"the undisturbed call leaves {command.left(self.place)}")
        self.expected = outcomes[0]
        if outcomes[0] != outcomes[1]:
            raise FaultError(f"two undisturbed calls differ: {differing(*outcomes)}")

    def _begin(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.fresh, self.place, symlinks=True)
        self.output.write_bytes(b"")

    def trial(self, rng: random.Random, kills: int) -> Counter[str]:
        """Kill the command up to ``kills`` times, then let it end; returns the counts.

        Raises:
            FaultError: If something is torn, lost, left behind, or differs.
        """
        self._begin()
        counts: Counter[str] = Counter()
        most = max(1, round(self.calls * self.command.fraction))
        story = []
        try:
            for _ in range(kills):
                moment = rng.random() < 0.3
                number = 0 if moment else rng.randint(1, most)
                process = call(self.command, self.place, self.output, die_at(number, self.place))
                if moment:
                    delay = rng.uniform(0.0, self.seconds * self.command.fraction)
                    story.append(f"killed after {delay:.3f} s")
                    code = wait(process, delay)
                    if code is None:
                        os.kill(process, signal.SIGKILL)
                        code = finish(process, self.output)
                else:
                    story.append(f"killed at call {number}")
                    code = finish(process, self.output)
                if code == self.command.code:
                    break
                if code != -signal.SIGKILL:
                    raise FaultError(f"exit code {code}: {self.output.read_text(errors='replace')[-1500:]}")
                counts["moments" if moment else "calls"] += 1
                counts["killed"] += 1
                if torn := self.command.check(self.place, self.expected):
                    raise FaultError(f"torn or lost: {torn[:5]}")
            code = finish(call(self.command, self.place, self.output, die_at(0, self.place)), self.output)
            if code != self.command.code:
                raise FaultError(f"exit code {code} in the end: {self.output.read_text(errors='replace')[-1500:]}")
            found, left = self.command.outcome(self.place), self.command.left(self.place)
            if found != self.expected or left:
                raise FaultError(f"differs: {differing(found, self.expected)}; left behind: {left[:5]}")
        except FaultError as error:
            raise FaultError(f"{', '.join(story)}: {error}") from error
        counts["finished"] += 1
        return counts


def differing(one: Outcome, other: Outcome) -> list[str]:
    return [name for name in {*one, *other} if one.get(name) != other.get(name)][:8]


def shoot(name: str, kills: int, seed: int, work: Path) -> tuple[Counter[str], list[str]]:
    """Kill one command so many times; returns the counts and the faults."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    target = Target(COMMANDS[name][0](), work)
    number = 0
    while counts["killed"] < kills:
        rng = random.Random(f"{seed} {name} {number}")
        number += 1
        try:
            counts += target.trial(
                rng, min(rng.randint(1, round(3 / target.command.fraction)), kills - counts["killed"])
            )
        except FaultError as error:
            faults.append(f"{name}, seed {seed}, trial {number - 1}: {error}")
            sys.stderr.write(f"{faults[-1]}\n")
            counts["killed"] += 1
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    given = parser.parse_args()
    began = time.monotonic()
    chosen: Sequence[str] = given.commands.split(",")
    whole = sum(COMMANDS[name][1] for name in chosen)
    counts: dict[str, dict[str, int]] = {}
    faults: list[str] = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as work:
            found, wrong = shoot(name, max(1, round(given.kills * COMMANDS[name][1] / whole)), given.seed, Path(work))
        counts[name] = dict(found)
        faults += wrong
        sys.stderr.write(f"{name}: {dict(found)}, {len(wrong)} faults, {time.monotonic() - began:.0f} s\n")
    killed = sum(one["killed"] for one in counts.values())
    outcome = {"killed": killed, "commands": counts, "faults": faults, "seconds": round(time.monotonic() - began)}
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
