"""The cost table: training time, inference time and memory of every method in both settings."""

from __future__ import annotations

from collections.abc import Callable

from reports.parts.metric_tables import badges
from reports.table_view import CellView, ColumnView, GroupView, RowView, TableView
from results.analyses.costs import Cost, cost_of
from results.leaderboard import Leaderboard
from results.rows.cell import BLANK
from results.rows.row import SETTINGS

_GROUPS: tuple[tuple[str, str], ...] = (
    (
        "Training time",
        "backbone pass over the training images plus fit, mean over seeds; separate: sum over all detectors",
    ),
    (
        "ms per image, batch 1",
        "from decoded image to anomaly map, backbone included, timed separately from scoring, median over runs",
    ),
    (
        "ms per image, batch 16",
        "from decoded image to anomaly map, backbone included, timed separately from scoring",
    ),
    ("Parameters", "trainable parameters, backbone not counted; separate: sum over all detectors"),
    ("Fitted state", "weights, Gaussians or memory bank, backbone not counted; separate: sum over all detectors"),
    ("Peak memory", "largest resident memory of a run's process, interpreter and libraries included"),
)


def cost_table(board: Leaderboard, key: str) -> TableView:
    """Make the table of the cost of every row, unified next to separate.

    Args:
        board: The leaderboard of one table.
        key: Id of the table.
    """
    rows = board.rows
    settings = [setting for setting in SETTINGS if any(row.runs(setting) for row in rows)]
    costs = {(row.row_id, setting): cost_of(row, setting) for row in rows for setting in settings}
    detectors = len(rows[0].dataset.set_categories)
    together = f"{detectors} detectors together" if detectors > 1 else "one detector"
    titles = {"unified": "one detector", "separate": together}
    shared = [cost for cost in costs.values() if cost.jobs > 1]
    notes = ["Training time includes the backbone's pass over the training images, also if its features were cached."]
    if shared:
        notes.append(
            f"Times marked † were measured with up to {max(cost.jobs for cost in shared)} runs at the "
            "same time on the machine. Do not compare or quote them."
        )
    return TableView(
        key=key,
        caption=f"{rows[0].dataset.title}: cost",
        corner="Method",
        groups=tuple(GroupView(label, len(settings), title) for label, title in _GROUPS),
        columns=tuple(ColumnView(setting, titles[setting]) for _ in _GROUPS for setting in settings),
        rows=tuple(
            RowView(
                name=board.label(row),
                cells=tuple(make(costs[row.row_id, setting]) for make in _CELLS for setting in settings),
                badges=badges(row)[:1],
            )
            for row in rows
        ),
        notes=tuple(notes),
    )


def seconds(value: float) -> str:
    """A duration as text, in seconds, minutes or hours."""
    if value < 100:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"


def amount(value: float) -> str:
    """A count as text, e.g. 1.8 M, 950.0 k or 0."""
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.0f}"


def megabytes(value: float) -> str:
    """Bytes as text in MB (10^6 bytes)."""
    return f"{value / 1e6:.1f} MB" if value < 1e8 else f"{value / 1e6:,.0f} MB"


def _view(cost: Cost, value: float | None, text: Callable[[float], str], timed: bool, below: str = "") -> CellView:
    if value is None:
        return CellView(main=BLANK, title=cost.reason or "not measured", classes="blank")
    flag = " †" if timed and cost.jobs > 1 else ""
    return CellView(main=text(value) + flag, value=repr(value), below=below)


def _training(cost: Cost) -> CellView:
    parts = ""
    if cost.feature_seconds is not None and cost.fit_seconds is not None:
        parts = f"{seconds(cost.feature_seconds)} features + {seconds(cost.fit_seconds)} fit"
    return _view(cost, cost.train_seconds, seconds, True, parts)


_CELLS: tuple[Callable[[Cost], CellView], ...] = (
    _training,
    lambda cost: _view(cost, cost.ms_per_image_batch_1, lambda value: f"{value:.1f}", True),
    lambda cost: _view(cost, cost.ms_per_image_batch_16, lambda value: f"{value:.1f}", True),
    lambda cost: _view(cost, cost.parameters, amount, False),
    lambda cost: _view(cost, cost.state_bytes, megabytes, False),
    lambda cost: _view(cost, cost.peak_rss_bytes, megabytes, False),
)
