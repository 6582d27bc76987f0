"""Time that the harness adds to a run: planning, its record, and its share of the tables."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.plan.options import Options
from bench.plan.plan import make_plan
from results.records.store import Store
from results.tables.headline import headline
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import seconds_of
from tests.support.miniature import write_miniature_folder

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
SEEDS, RECORDS = tuple(range(40)), 120


def measure() -> Outcome:
    """Seconds a run of planning, writing and reading a record with its scores, and the headline table."""
    with tempfile.TemporaryDirectory() as directory:
        root = write_miniature_folder(Path(directory) / "folder")
        options = Options(
            dataset="folder", root=root, methods=("padim",), seeds=SEEDS, preset="quick", weights="random",
            backbone="resnet18", cache_dir=Path(directory) / "cache", results_dir=Path(directory) / "runs",
            jobs=1,
        )  # fmt: skip
        make_plan(options)  # builds the backbone once, because every id contains its hash
        runs = 0

        def plan() -> None:
            nonlocal runs
            runs = len(make_plan(options))

        planning = seconds_of(plan) / runs
        committed = Store(REFERENCE)
        records = [record for record in committed.records() if record.status == "ok"][:RECORDS]
        scores = [committed.scores(record) for record in records]
        store = Store(Path(directory) / "store")

        def write() -> None:
            for record, arrays in zip(records, scores, strict=True):
                store.write(record, arrays)

        writing = seconds_of(write) / len(records)
        reading = seconds_of(store.records) / len(records)
        tables = seconds_of(lambda: headline(store)) / len(records)
        kept = len(store.records())
    parts = {"plan": planning, "write": writing, "read": reading, "tables": tables}
    notes = {"parts": ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in parts.items())}
    checked = f"{kept} of {len(records)} records read back"
    return Outcome(sum(parts.values()), None, 1, checked, kept == len(records), notes=notes)


ROWS = (Row("record", "one record: overhead of harness, store and tables a run", "-", measure, at_most=0.03),)
