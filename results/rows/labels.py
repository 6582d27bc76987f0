"""Labels of rows: the title of the method, and the remarks that distinguish rows with the same title."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from results.rows.row import Row

RowKey = tuple[str, str, str, str]
"""Key of the table of a row, and the row's id."""


def table_key(row: Row) -> tuple[str, str, str]:
    """Rows with the same key may share a table: same dataset, same set of categories, same data."""
    return row.dataset.name, row.dataset.set_id, row.data_id


def labels(rows: Iterable[Row]) -> dict[RowKey, str]:
    """The label of each row by (dataset, set id, data id, row id): its title and what distinguishes it in its table.

    Overrides are always named. Where several rows of one method and preset remain, all values in which they
    differ are named too: values of config, backbone, weights or protocol.
    """
    everything = list(rows)
    return {(*table_key(row), row.row_id): _label(row.method.title, _remarks(row, everything)) for row in everything}


def labels_among(rows: Sequence[Row]) -> tuple[dict[RowKey, str], tuple[str, ...]]:
    """Short labels for rows that are shown side by side: what they all have in common is left out.

    Args:
        rows: Rows of one table.

    Returns:
        The labels by (dataset, set id, data id, row id), and the remarks that were left out, e.g. ``steps=1000``.
    """
    remarks = {row.row_id: _remarks(row, rows) for row in rows}
    shared: dict[str, None] = {}
    for key, value in dict.fromkeys(remark.partition("=")[::2] for found in remarks.values() for remark in found):
        if len(rows) > 1 and all(shown(_settings(row).get(key)) == value for row in rows):
            shared[f"{key}={value}"] = None
    several_presets = len({row.method.preset for row in rows}) > 1
    named = {
        (*table_key(row), row.row_id): _label(row.method.title, [r for r in remarks[row.row_id] if r not in shared])
        + (f" [{row.method.preset}]" if several_presets else "")
        for row in rows
    }
    return named, tuple(shared)


def _label(title: str, remarks: Sequence[str]) -> str:
    return title + (f" ({', '.join(remarks)})" if remarks else "")


def _remarks(row: Row, everything: Iterable[Row]) -> list[str]:
    """The remarks after the title of a row: its overrides, and its differences from rows of its method and preset."""
    twins = [
        other
        for other in everything
        if table_key(other) == table_key(row)
        and (other.method.name, other.method.preset) == (row.method.name, row.method.preset)
    ]
    remarks = [f"{key}={shown(value)}" for key, value in sorted(row.method.overrides.items())]
    return remarks + [remark for remark in _differences(row, twins) if remark not in remarks]


def backbone_text(row: Row) -> str:
    """Backbone and kind of weights, e.g. ``resnet18, pretrained weights``; empty for methods without a backbone."""
    if row.backbone.weights == "none":
        return ""
    return f"{row.backbone.name}, {row.backbone.weights} weights"


def shown(value: Any) -> str:
    """A config value as readable text: no quotes, ``yes`` and ``no``, short lists."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{key}={shown(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return "+".join(shown(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _differences(row: Row, twins: list[Row]) -> list[str]:
    """``key=value`` of the row for every value in which any of its twins differs from it."""
    mine = _settings(row)
    others = [_settings(twin) for twin in twins]
    found = {key: value for key, value in mine.items() if any(other.get(key) != value for other in others)}
    if "weights" in found and not any(_differ_only_in_hash(row, twin) for twin in twins):
        found["weights"] = row.backbone.weights
        if row.backbone.name_tells_weights:
            del found["weights"]
    return [f"{key}={shown(value)}" for key, value in sorted(found.items())]


def _differ_only_in_hash(row: Row, twin: Row) -> bool:
    """Whether their backbones differ only in the hash of the weights."""
    mine, its = row.backbone, twin.backbone
    return (mine.name, mine.weights) == (its.name, its.weights) and mine.sha256 != its.sha256


def _settings(row: Row) -> dict[str, Any]:
    return {
        **row.method.fit_config,
        **row.method.score_config,
        **row.protocol,
        "backbone": row.backbone.name,
        "weights": f"{row.backbone.weights} {row.backbone.sha256[:8]}".strip(),
        "padding": row.backbone.padding,
    }
