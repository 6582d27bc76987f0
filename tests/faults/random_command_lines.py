"""Calls the command line with random words and checks how it ends each time.

    python -m tests.faults.random_command_lines [--lines 5000] [--seed 0] [--block 250]

A line has a command, some of its options with usual or hostile values (numbers of thousands of digits, nan, names with
escape sequences, invalid UTF-8 or too many characters, pipes, devices, loops of links, damaged files, ``~nobody``), and
mistakes: options that are unknown, given twice, shortened, or lack their value. Runs are only planned (``--dry-run``),
except few that take a second. Every call must

- end within a minute, with exit code 0, 1 or 2 (``data`` also with 3);
- say something of its own if it is not 0, never a traceback;
- print no control characters;
- write only below the directory in which everything of the test is.

Blocks of lines run in forked processes, each in a new directory, with at most 4 GiB more memory than this one. A fault
does not end the program: it prints each one, and its counts as one line of JSON.
"""

from __future__ import annotations

import argparse
import ast
import copy
import errno
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: forked processes must not inherit a pool of threads
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["COLUMNS"] = "200"

import timm
import typer

import bench.benchmark
import bench.commands.data
import bench.execution.cost
import bench.score.score_directory
import datasets.download.obtain
import datasets.synthetic
import reports.build  # noqa: F401  imported before processes are forked
from bench.commands.app import main as bench_main
from datasets.errors import DatasetError
from results.records.store import Store
from tests.support.checkpoints import small_hvq
from tests.support.hostile_lines import commands, line, settings_of_methods
from tests.support.miniature import write_miniature_folder
from tests.support.records import make_record, make_row, make_scores

SECONDS = 60.0
HOMES = (os.path.expanduser("~nobody"), "/.nonexistent", "//x")  # noqa: PTH111
"""Paths that a line may name, or locks beside them, and root could write: they are refused, as to anybody else."""
GIB = 2**30
CODES = {0, 1, 2}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


_ESCAPE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class HangError(BaseException):
    """A call takes too long. Not an ``Exception``, so that no handler takes it for a failed run."""


class OutsideError(BaseException):
    """A call would write outside of its directory."""


# The directory of a block


def write_template(place: Path) -> None:
    """Write the files that lines refer to."""
    write_miniature_folder(place / "folder", train=2, good=1, per_defect=1, defects=("scratch",), size=24)
    store, other = Store(place / "runs"), Store(place / "other")
    for record in make_row(seeds=(0,), set_categories=("bolt", "cloth")):
        store.write(record, make_scores(record))
    other.write(make_record(seed=1, value=0.7, set_categories=("bolt", "cloth")))
    torn = other.write(make_record(seed=2, set_categories=("bolt", "cloth")))
    torn.write_bytes(torn.read_bytes()[:100])
    small_hvq(place / "h.safetensors")
    (place / "torn.safetensors").write_bytes((place / "h.safetensors").read_bytes()[:500])
    (place / "text.pth").write_text("no checkpoint")
    (place / "images").mkdir()
    shutil.copy(next((place / "folder").rglob("*.png")), place / "images" / "1.png")
    (place / "empty").mkdir()
    study = Path(__file__).resolve().parents[2] / "results" / "studies" / "uniad-query.toml"
    content = study.read_text(encoding="utf-8")
    (place / "study.toml").write_text(content, encoding="utf-8")
    (place / "torn.toml").write_text(content[: len(content) // 2], encoding="utf-8")
    (place / "binary.toml").write_bytes(b"\xff\x00\xfe")


def furnish(place: Path) -> None:
    """Add what can't be copied: a pipe, links, and the working directory."""
    os.mkfifo(place / "fifo")
    (place / "loop").symlink_to(place / "loop")
    (place / "nowhere").symlink_to(place / "gone" / "file")
    (place / "zero").symlink_to("/dev/zero")
    (place / "deep" / "here").mkdir(parents=True)
    os.chdir(place / "deep" / "here")


def guard(place: Path) -> None:
    """Let this process write below ``place`` only."""
    inside = (str(place), "/dev/null", "/proc/self/", f"/proc/{os.getpid()}/")
    changes = {"os.mkdir", "os.rmdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.utime"}

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            path = args[0]
        elif event in changes:
            path = args[1] if event in ("os.link", "os.symlink") else args[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if name.startswith("/") or os.path.abspath(name) != name:  # noqa: PTH100
                whole = os.path.abspath(name)  # noqa: PTH100
                if event == "os.mkdir" and os.path.isdir(whole):  # noqa: PTH112
                    return  # it fails, and changes nothing
                if not whole.startswith(inside) and _exists_or_could(whole):
                    if any(whole.startswith(home) for home in HOMES):  # named by the user; root could write there
                        raise PermissionError(errno.EACCES, "Permission denied", name)
                    raise OutsideError(f"{event} {whole}")

    sys.addaudithook(watch)


def _exists_or_could(path: str) -> bool:
    """Whether a path could be written: its directory exists, and is no pseudo directory."""
    return os.path.isdir(os.path.dirname(path)) and not path.startswith(("/proc/", "/sys/", "/dev/"))  # noqa: PTH112, PTH120


# Calls


def prepare() -> None:
    """Change what would take long or reach a network: estimates, downloads, the size of the synthetic dataset."""
    estimator, generate = bench.benchmark.Estimator, datasets.synthetic.generate

    def refuse(url: str, file: Path, **options: object) -> None:
        raise DatasetError(f"{url}: there is no network in this test.")

    def few(root: Path, *args: object, **options: object) -> Path:
        return generate(
            root, train=1, good=1, per_defect=1, categories=("bolt",) if "bolt" in _looks() else _looks()[:1]
        )

    bench.benchmark.Estimator = lambda records, probe, curves: estimator(records, probe=False, curves=curves)
    create = cache(timm.create_model)

    def once(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise OSError("there is no network in this test")
        return copy.deepcopy(create(name, **options))

    bench.commands.data.fetch_file = refuse
    datasets.download.obtain.fetch_package = refuse
    timm.create_model = once
    bench.execution.cost.REPEATS = 1
    datasets.synthetic.generate = few
    typer.main.get_command = cache(typer.main.get_command)
    warnings.simplefilter("ignore")


def _looks() -> tuple[str, ...]:
    return tuple(datasets.synthetic.LOOKS)


def call(words: list[str], binary: bool) -> tuple[int, str]:
    """Call the command line; returns its exit code and what is wrong with the way it ended, empty if nothing is."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    before = sys.stdout, sys.stderr, sys.stdin
    sys.stdout, sys.stderr, sys.stdin = *streams, io.StringIO("")
    sys.argv = ["bench", *words]
    code, wrong = 0, ""

    def hang(number: int, frame: object) -> None:
        raise HangError("".join(traceback.format_stack(frame, limit=12)))  # type: ignore[arg-type]

    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        bench_main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except HangError as error:
        wrong = f"no end within {SECONDS:.0f} s: {error}"
    except OutsideError as error:
        wrong = f"it writes elsewhere: {error}"
    except BaseException:
        wrong = traceback.format_exc()[-2500:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout, sys.stderr, sys.stdin = before
    output, error = (stream.buffer.getvalue() for stream in streams)
    shown = error if binary else output + error
    text = shown.decode(errors="surrogateescape")
    if wrong:
        return code, wrong
    if code not in CODES and not (code == 3 and words[:1] == ["data"]):
        return code, f"exit code {code}: {text[-500:]}"
    if code and not text.strip():
        return code, f"exit code {code} without a word"
    if "Traceback (most recent call last)" in text:
        return code, f"a traceback: {text[-1500:]}"
    control = _CONTROL if "Usage: " not in text else _ESCAPE  # typer's own messages escape fewer characters
    if found := control.search(text):
        return code, f"it prints {found[0]!r}: {text[max(0, found.start() - 150) : found.end() + 100]!r}"
    if not _is_utf8(shown):
        return code, f"it prints no UTF-8: {text[:300]!r}"
    return code, ""


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def execute(seed: int, block: int, count: int, template: Path, place: Path, report: Path) -> None:
    """Call the lines of a block; results go to ``report``, line by line, the words before the call."""
    shutil.copytree(template, place, symlinks=True)
    furnish(place)
    os.environ["HOME"] = str(place / "home")
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * GIB, most))
    for number in range(count):
        rng = random.Random(f"{seed} {block} {number}")
        words = line(rng, place)
        with report.open("a", encoding="ascii") as stream:
            stream.write(f"{words!a}\n")
        began = time.monotonic()
        if number == 0:
            guard(place.parent)
        code, wrong = call(words, "parquet" in " ".join(words))
        with report.open("a", encoding="ascii") as stream:
            stream.write(f"{[code, wrong, round(time.monotonic() - began, 3)]!a}\n")


def run_block(seed: int, block: int, count: int, template: Path, work: Path) -> tuple[Counter[str], list[str], float]:
    """Call the lines of a block in a forked process; returns counts, faults and the longest time of a call."""
    place, report = work / "block" / "place", work / "block" / "report"
    shutil.rmtree(work / "block", ignore_errors=True)
    place.parent.mkdir(parents=True)
    report.touch()
    process = os.fork()
    if not process:
        code = 70
        try:
            execute(seed, block, count, template, place, report)
            code = 0
        except BaseException:
            sys.stderr.write(traceback.format_exc())
        finally:
            os._exit(code)
    size, since = 0, time.monotonic()
    died = ""
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            died = "" if status == 0 else f"the process died ({os.waitstatus_to_exitcode(status)})"
            break
        if report.stat().st_size != size:
            size, since = report.stat().st_size, time.monotonic()
        if time.monotonic() - since > 3 * SECONDS:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            died = f"no end within {3 * SECONDS:.0f} s, not even by an alarm"
            break
        time.sleep(0.02)
    lines = [ast.literal_eval(text) for text in report.read_text(encoding="ascii").splitlines()]
    counts: Counter[str] = Counter()
    faults, longest = [], 0.0
    for number in range(0, len(lines), 2):
        words = lines[number]
        code, wrong, seconds = lines[number + 1] if number + 1 < len(lines) else (70, died, 0.0)
        longest = max(longest, seconds)
        counts["lines"] += 1
        counts[f"exit code {code}"] += 1
        if wrong:
            shown = [word if len(word) < 400 else f"{word[:40]}...({len(word)} characters)" for word in words]
            faults.append(f"seed {seed}, block {block}, line {number // 2}: {shown!a}\n{wrong}")
    if died and len(lines) % 2 == 0:
        faults.append(f"seed {seed}, block {block}: {died}")
    return counts, faults, longest


def warm_up(template: Path, place: Path) -> None:
    """Call what imports modules and builds backbones once, before processes are forked."""
    shutil.copytree(template, place)
    records = ["--results-dir", str(place / "runs"), "--reference-dir", str(place / "none")]
    where = ["--dataset", "folder", "--root", str(place / "folder"), "--preset", "quick", "--weights", "random"]
    small = ["--backbone", "resnet18", "--cache-dir", str(place / "cache"), "--site", str(place / "site")]
    score = [
        "--checkpoint",
        str(place / "h.safetensors"),
        "--images",
        str(place / "images"),
        "--out",
        str(place / "out"),
    ]
    call(["run", "--methods", "padim,uniad", *where, *small, *records, "--dry-run"], binary=False)
    call(["run", "--methods", "padim,uniad", *where, *small[2:], *records, "--dry-run"], binary=False)
    call(["report", *records, "--site", str(place / "site")], binary=False)
    call(["table", *records, "--format", "parquet"], binary=True)
    call(["score", *score], binary=False)


def attempt(lines: int, seed: int, size: int, say: Callable[[str], None] = lambda text: None) -> dict[str, object]:
    """Call so many random lines; returns the counts and the faults."""
    began, longest = time.monotonic(), 0.0
    counts: Counter[str] = Counter()
    faults: list[str] = []
    prepare()
    commands(), settings_of_methods()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory).resolve()
        write_template(work / "template")
        warm_up(work / "template", work / "warm")
        for block in range(-(-lines // size)):
            found, wrong, most = run_block(seed, block, min(size, lines - counts["lines"]), work / "template", work)
            counts += found
            faults += wrong
            longest = max(longest, most)
            for one in wrong:
                say(f"{one}\n")
    return {**counts, "faults": faults, "longest call": longest, "seconds": round(time.monotonic() - began)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--block", type=int, default=250)
    given = parser.parse_args()
    outcome = attempt(given.lines, given.seed, given.block, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.exit(bool(outcome["faults"]))


if __name__ == "__main__":
    main()
