"""Measurements, stored in docs/performance.json, and the tables of docs/performance.md that are made from them."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import torch

from bench.execution.provenance import device_name, git_state, utc_now
from datasets.storage.cores import usable_cores
from tests.performance.row import Outcome, Row

DOCS = Path(__file__).resolve().parents[2] / "docs"
JSON, MARKDOWN = DOCS / "performance.json", DOCS / "performance.md"
START, END = "<!-- The tables are written by make perf. -->", "<!-- End of the tables. -->"
PACKAGES = ("torch", "numpy", "scikit-learn", "anomalib", "torchmetrics", "adeval", "pillow", "torchvision")
Entry = dict[str, Any]


def entry(row: Row, outcome: Outcome, load: float) -> Entry:
    """Everything that is stored of one measurement.

    Args:
        row: The row that was measured.
        outcome: The result.
        load: Load average of the machine before the measurement.
    """
    commit, dirty = git_state()
    return {
        "row": row.name,
        "work": row.work,
        "against": row.against,
        "bar": row.bar,
        "reached": row.reached(outcome),
        "seconds": outcome.ours,
        "their_seconds": outcome.theirs,
        "repeats": outcome.repeats,
        "memory": list(outcome.memory),
        "checked": outcome.checked,
        "agrees": outcome.agrees,
        "notes": outcome.notes,
        "machine": device_name(torch.device("cpu")),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "load_before": round(load, 2),
        "measured_utc": utc_now(),
        "commit": commit + ("-dirty" if dirty else ""),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "command": f"make perf ROWS={row.name}",
    }


def cells(found: Entry) -> tuple[str, ...]:
    """The cells here, theirs, ratio, bar, reached and checked, as text."""
    theirs = found["their_seconds"]
    ratio = "-" if theirs is None else f"{theirs / found['seconds']:.1f}x"
    mine, other = found["memory"]
    if mine is not None and other:
        ratio += f"; memory 1/{other / max(mine, 1):.0f}"
    checked = "; ".join([found["checked"], *(f"{name}: {text}" for name, text in found["notes"].items())])
    return (
        _duration(found["seconds"]) + ("" if mine is None else f", {mine / 2**20:,.0f} MiB"),
        ("-" if theirs is None else _duration(theirs)) + ("" if other is None else f", {other / 2**20:,.0f} MiB"),
        ratio,
        found["bar"],
        "yes" if found["reached"] else "**no**",
        checked,
    )


def write(new: Entry, order: list[str]) -> None:
    """Put an entry into the JSON file, and the tables of all entries into the page.

    Args:
        new: The entry; it replaces the entry of the same row and machine.
        order: Names of all rows, in the order of the tables.
    """
    entries = {(_machine(old), old["row"]): old for old in [*_read(), new]}
    machines = sorted({_machine(found) for found in entries.values()})
    kept = [entries[machine, name] for machine in machines for name in order if (machine, name) in entries]
    JSON.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = MARKDOWN.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    MARKDOWN.write_text(f"{before}{START}\n\n{markdown(kept)}\n{END}{after}", encoding="utf-8")


def markdown(entries: list[Entry]) -> str:
    """A table for each machine, and below it the versions, dates and commits of the measurements."""
    machines: dict[str, list[Entry]] = {}
    for found in entries:
        machines.setdefault(_machine(found), []).append(found)
    return "\n".join(_table(machine, rows) for machine, rows in machines.items())


def _machine(found: Entry) -> str:
    return f"{found['machine']}, {found['cores']} cores, {found['threads']} threads"


def _table(machine: str, entries: list[Entry]) -> str:
    lines = [
        f"### {machine}",
        "",
        "| work | against | here | theirs | ratio | bar | reached | checked and noted | command |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in entries:
        words = [found["work"], found["against"], *cells(found), f"`{found['command']}`"]
        lines.append("| " + " | ".join(word.replace("|", "\\|") for word in words) + " |")
    lines.append("")
    groups: dict[str, list[str]] = {}
    for found in entries:
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        when = f"{found['row']} ({found['measured_utc'][:10]}, {found['commit'][:7]}, load {found['load_before']:g})"
        groups.setdefault(versions, []).append(when)
    lines += [f"With {versions}; date, commit and load before: {', '.join(rows)}." for versions, rows in groups.items()]
    return "\n".join(lines) + "\n"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s"


def _read() -> list[Entry]:
    if not JSON.exists():
        return []
    entries: list[Entry] = json.loads(JSON.read_text(encoding="utf-8"))
    return entries


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
