"""Where the numbers come from: code, machine, data and weights of the runs; failed runs; excluded records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from results.leaderboard import Leaderboard
from results.records.record import RunRecord
from results.rows.labels import labels, shown, table_key
from results.rows.row import SETTINGS, Row

_COMMANDS = 3


@dataclass(frozen=True)
class Provenance:
    """Facts about the runs of one row as (name, value) pairs, and the commands that repeat them."""

    title: str
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A failed run, with its error as recorded."""

    run: str
    seed: int
    error_type: str
    message: str
    traceback: str


@dataclass(frozen=True)
class LeftOut:
    """Stale records of one row. They are listed and enter no mean."""

    method: str
    reason: str
    records: int


def provenance(row: Row, label: str) -> Provenance:
    """Where the numbers of a row come from.

    Args:
        row: A row of the leaderboard.
        label: Its name on the leaderboard.
    """
    records = row.records
    origins = [record.provenance for record in records]
    commits = [f"{o.git_commit[:12]}{' with uncommitted changes' if o.git_dirty else ''}" for o in origins]
    finished = sorted(o.finished_utc for o in origins)
    names = sorted({name for o in origins for name in o.versions})
    versions = [f"{name} {_listed(o.versions[name] for o in origins if name in o.versions)}" for name in names]
    config = {**row.method.fit_config, **row.method.score_config}
    weights = (
        "none"
        if row.backbone.weights == "none"
        else (f"{row.backbone.name}, {row.backbone.weights}, sha256 {row.backbone.sha256[:12]}")
    )
    prints = {setting: _listed(record.dataset.fingerprint[:12] for record in row.runs(setting)) for setting in SETTINGS}
    facts = (
        (
            "Method",
            f"{row.method.name} version {row.method.version}, {row.method.family}, preset {row.method.preset}",
        ),
        ("Config", ", ".join(f"{key}={shown(value)}" for key, value in sorted(config.items()))),
        ("Backbone and weights", weights),
        ("Seeds", ", ".join(map(str, row.seeds))),
        (
            "Runs",
            ", ".join(f"{s} {row.finished_runs(s)}/{row.expected_runs(s)}" for s in SETTINGS if row.runs(s)),
        ),
        (
            "Finished (UTC)",
            finished[0] if finished[0] == finished[-1] else f"{finished[0]} to {finished[-1]}",
        ),
        ("Code", _listed(commits)),
        ("Device", _listed(o.device for o in origins)),
        ("Threads per run", _listed(str(o.threads) for o in origins)),
        ("Versions", ", ".join(versions)),
        ("Data fingerprint", "; ".join(f"{s} {prints[s]}" for s in SETTINGS if prints[s])),
        ("Row id", row.row_id),
    )
    commands = tuple(dict.fromkeys(o.command for o in origins))
    more = (f"and {len(commands) - _COMMANDS} more",) if len(commands) > _COMMANDS else ()
    count = len(row.dataset.set_categories)
    title = f"{row.dataset.title} ({count} {'category' if count == 1 else 'categories'}): {label}"
    return Provenance(f"{title}, {row.method.preset}", tuple(f for f in facts if f[1]), commands[:_COMMANDS] + more)


def failures(records: Iterable[RunRecord]) -> list[Failure]:
    """Failed runs with their errors, in the order of the records."""
    return [
        Failure(
            run=f"{r.dataset.title}, {r.method.title} [{r.method.preset}], {r.setting}"
            + (f", {r.categories[0]}" if r.setting == "separate" else ""),
            seed=r.seed,
            error_type=r.failure.error_type if r.failure else "unknown",
            message=r.failure.message if r.failure else "the record gives no reason",
            traceback=r.failure.traceback if r.failure else "",
        )
        for r in records
        if r.status == "failed"
    ]


def left_out(board: Leaderboard) -> list[LeftOut]:
    """Stale records, counted by method and reason."""
    counts: dict[tuple[str, str], int] = {}
    for record, reason in board.left_out:
        key = (
            f"{record.dataset.title}, {record.method.title} [{record.method.preset}], {record.setting}",
            reason,
        )
        counts[key] = counts.get(key, 0) + 1
    return [LeftOut(method, reason, count) for (method, reason), count in counts.items()]


def protocols(board: Leaderboard) -> list[tuple[dict, list[str]]]:
    """Every protocol in use, with the rows that were scored under it; levels of studies are included."""
    rows = board.all_rows
    names = labels(rows)
    found: list[tuple[dict, list[str]]] = []
    for row in rows:
        name = f"{row.dataset.title}: {names[(*table_key(row), row.row_id)]} [{row.method.preset}]"
        for protocol, users in found:
            if protocol == row.protocol:
                users.append(name)
                break
        else:
            found.append((row.protocol, [name]))
    return found


def _listed(values: Iterable[str]) -> str:
    """Distinct values as text, sorted; of more than six only the first six and how many are left."""
    distinct = sorted(set(values))
    return ", ".join(distinct[:6]) + (f" and {len(distinct) - 6} more" if len(distinct) > 6 else "")
