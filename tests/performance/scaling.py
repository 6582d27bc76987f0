"""``make scaling`` measures time, memory and disk of the whole benchmark against the number of categories.

    python -m tests.performance.scaling [--most N] [--no-page]

The three methods of the default benchmark run with ``quick`` presets and one seed on 2, 4, 8, ... categories: the eight
of the synthetic dataset, each made from several seeds, so that no two categories have the same images. Each number of
categories and each setting is one command, as a user types it, in separate processes and with separate records. Another
command fills the feature bank before; its time is reported separately. The results are written to docs/scaling.json,
and from there to the figure docs/scaling.png and the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench.execution.provenance import device_name, git_state, utc_now
from datasets.storage.cores import usable_cores
from datasets.synthetic import generate
from results.records.record import RunRecord
from results.records.store import Store
from tests.performance import scaling_page
from tests.performance.stopwatch import seconds_of

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = Console(soft_wrap=True)
METHODS, MOST = "patchcore,padim,uniad", 32
Point = dict[str, Any]


def write_categories(root: Path, count: int) -> tuple[str, ...]:
    """Write ``count`` categories in MVTec layout, those of one seed, then those of the next; returns their names."""
    seed, names = 0, []
    while len(names) < count:
        made = generate(root.parent / f"seed{seed}", seed)
        for category in sorted(path for path in made.iterdir() if path.is_dir())[: count - len(names)]:
            names.append(f"{category.name}-{seed}")
            root.mkdir(parents=True, exist_ok=True)
            category.rename(root / names[-1])
        seed += 1
    return tuple(names)


class Benchmark:
    """The command line on one directory of images.

    Args:
        work: Directory for images, bank and records.
        count: Number of categories to make.
    """

    def __init__(self, work: Path, count: int) -> None:
        self.work, self.images = work, work / "images"
        self.names = write_categories(self.images, count)

    def seconds(self, store: str, categories: int, *options: str) -> float:
        """Seconds of one ``bench run`` on the first categories, with records under ``store``.

        Raises:
            CalledProcessError: If it fails; its error message is on the terminal.
        """
        command = [
            sys.executable, "-m", "bench", "run", "--dataset", "folder", "--root", str(self.images),
            "--categories", ",".join(self.names[:categories]), "--methods", METHODS, "--preset", "quick",
            "--backbone", "tf_efficientnet_lite0", "--seeds", "1", "--cache-dir", str(self.work / "cache"),
            "--results-dir", str(self.work / store),
            "--site", str(self.work / "site"), "--reference-dir", str(self.work / "none"), *options,
        ]  # fmt: skip
        return seconds_of(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))

    def records(self, store: str) -> list[RunRecord]:
        """The records.

        Raises:
            RuntimeError: If a run failed.
        """
        records = list(Store(self.work / store).records())
        if failed := [record.failure.message for record in records if record.failure]:
            raise RuntimeError(f"{len(failed)} runs failed: {failed[0]}")
        return records

    def bank_bytes(self) -> int:
        """Size of the feature bank."""
        return sum(path.stat().st_size for path in (self.work / "cache").rglob("*") if path.is_file())


def costs(records: list[RunRecord]) -> dict[str, Point]:
    """By method: seconds of fitting and scoring, peak memory of its largest run, bytes of all fitted states."""
    found: dict[str, Point] = {}
    for record in records:
        assert record.cost is not None
        entry = found.setdefault(record.method.name, {"runs": 0, "seconds": 0.0, "peak_bytes": 0, "state_bytes": 0})
        entry["runs"] += 1
        entry["seconds"] += record.cost.fit_seconds + record.cost.score_seconds
        entry["peak_bytes"] = max(entry["peak_bytes"], record.cost.peak_rss_bytes)
        entry["state_bytes"] += record.cost.state_bytes
    return found


def measure(most: int) -> dict[str, Any]:
    """All points for 2, 4, 8, ... up to ``most`` categories."""
    points: list[Point] = []
    counts = [count for count in (2, 4, 8, 16, 32, 64, 128) if count <= most]
    with tempfile.TemporaryDirectory() as directory:
        benchmark = Benchmark(Path(directory), counts[-1])
        benchmark.seconds("filling", counts[-1], "--settings", "unified", "--set", "uniad.steps=1")
        filling = sum(record.cost.feature_seconds for record in benchmark.records("filling") if record.cost)
        bank = benchmark.bank_bytes()
        for count in counts:
            for setting in ("unified", "separate"):
                store = f"{setting}{count}"
                seconds = benchmark.seconds(store, count, "--settings", setting)
                methods = costs(benchmark.records(store))
                points.append({"setting": setting, "categories": count, "seconds": seconds, "methods": methods})
                CONSOLE.print(f"{count} categories, {setting}: {seconds:.0f} s")
    commit, dirty = git_state()
    return {
        "machine": device_name(torch.device("cpu")),
        "cores": usable_cores(),
        "bank_bytes_per_category": bank / counts[-1],
        "filling_seconds_per_category": filling / counts[-1],
        "commit": commit + ("-dirty" if dirty else ""),
        "measured_utc": utc_now(),
        "points": points,
    }


def main(arguments: list[str]) -> int:
    """Measure, draw and store."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=MOST, help="largest number of categories")
    parser.add_argument("--no-page", action="store_true", help="print the results and leave docs/ as it is")
    chosen = parser.parse_args(arguments)
    found = measure(chosen.most)
    if chosen.no_page:
        CONSOLE.print_json(json.dumps(found))
    else:
        scaling_page.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
