"""Tables as templates draw them: plain values that are already formatted as text. This module makes no HTML."""

from __future__ import annotations

from dataclasses import dataclass

from results.rows.cell import BLANK, Cell, number


@dataclass(frozen=True)
class CellView:
    """One cell.

    Attributes:
        main: The number, e.g. ``96.5``.
        spread: The spread, e.g. ``± 0.4``; may be empty.
        below: A small second line, e.g. the published number.
        below_title: Tooltip of the second line, e.g. its source.
        value: The unrounded value, for sorting and for programs that read the page; empty in a blank cell.
        title: Tooltip: n and seeds, or the reason why the cell is blank.
        classes: CSS classes: ``best``, ``second``, ``blank``; ``text`` for a cell without a column for ±.
        heat: Strength of the shading, 0 to 1, or None for no shading.
        loss: Whether the shading has the colour of losses instead of that of values.
    """

    main: str
    spread: str = ""
    below: str = ""
    below_title: str = ""
    value: str = ""
    title: str = ""
    classes: str = ""
    heat: float | None = None
    loss: bool = False


@dataclass(frozen=True)
class Badge:
    """A short remark on a row. ``kind`` is ``plain``, ``preset``, ``warn`` or ``bad``."""

    text: str
    kind: str = "plain"
    title: str = ""


@dataclass(frozen=True)
class RowView:
    """One row: its name with remarks, then its cells.

    Attributes:
        name: Name of the row.
        cells: One cell for each column.
        badges: Short remarks.
        details: Small lines below the name.
        facets: (name, value) pairs that readers can filter rows by, e.g. the family of the method.
        href: Page with more about the row; empty if there is none.
    """

    name: str
    cells: tuple[CellView, ...]
    badges: tuple[Badge, ...] = ()
    details: tuple[str, ...] = ()
    facets: tuple[tuple[str, str], ...] = ()
    href: str = ""


@dataclass(frozen=True)
class ColumnView:
    """A column: its heading, its tooltip, and the direction if the table starts sorted by it."""

    label: str
    title: str = ""
    sorted: str = "none"


@dataclass(frozen=True)
class GroupView:
    """A heading over ``span`` columns."""

    label: str
    span: int
    title: str = ""


@dataclass(frozen=True)
class TableView:
    """A table. Sorting leaves the rows of ``foot`` at the end; ``spreads`` reserves space for ± in every cell."""

    key: str
    caption: str
    corner: str
    groups: tuple[GroupView, ...]
    columns: tuple[ColumnView, ...]
    rows: tuple[RowView, ...]
    foot: tuple[RowView, ...] = ()
    ranked: bool = False
    filter_label: str = ""
    spreads: bool = False
    notes: tuple[str, ...] = ()


def number_cell(
    cell: Cell,
    *,
    signed: bool = False,
    classes: str = "",
    below: tuple[str, str] = ("", ""),
    heat: float | None = None,
    loss: bool = False,
    seeds: bool = True,
) -> CellView:
    """The view of a measured number: percent with one decimal, and in ``value`` the fraction with ten digits.

    Args:
        cell: The number.
        signed: Whether to show the sign of positive numbers.
        classes: CSS classes.
        below: Second line and its tooltip.
        heat: Strength of the shading, or None.
        loss: Whether the shading has the colour of losses.
        seeds: Whether the tooltip lists every seed's number.
    """
    if cell.mean is None:
        return CellView(
            main=cell.badge or BLANK,
            title=cell.note(),
            classes="blank badge-cell" if cell.badge else "blank",
            below=below[0],
            below_title=below[1],
        )
    values = ", ".join(f"{number(value, signed)} (seed {seed})" for seed, value in cell.seeds if seeds)
    return CellView(
        main=number(cell.mean, signed),
        spread="" if cell.std is None else f"± {100 * cell.std:.1f}",
        below=below[0],
        below_title=below[1],
        value=f"{cell.mean:.10g}",
        title=f"{cell.note()}: {values}" if values else cell.note(),
        classes=classes,
        heat=heat,
        loss=loss,
    )
