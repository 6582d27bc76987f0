"""What a template needs to draw a table: plain values, already in words. No HTML in here."""

from __future__ import annotations

from dataclasses import dataclass

from results.rows.cell import BLANK, Cell, number


@dataclass(frozen=True)
class CellView:
    """One cell.

    Attributes:
        main: The number, e.g. ``96.5``.
        spread: ``± 0.4``, or nothing.
        below: A small second line, e.g. the published number.
        below_title: Tooltip of the second line (its source).
        value: The unrounded value, for sorting and for readers of the page's source; empty where blank.
        title: Tooltip: n, seeds, or why the cell is blank.
        classes: CSS classes: ``best``, ``second``, ``blank``; ``text`` for a cell that keeps no room for ±.
        heat: Strength of the shading, 0 to 1, or None for no shading.
        loss: Shade in the colour of losses instead of that of values.
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
    """One row: what it is about, then its cells.

    ``facets`` are what a reader may filter by, e.g. its family; ``href`` is the page that tells more.
    """

    name: str
    cells: tuple[CellView, ...]
    badges: tuple[Badge, ...] = ()
    details: tuple[str, ...] = ()
    facets: tuple[tuple[str, str], ...] = ()
    href: str = ""


@dataclass(frozen=True)
class ColumnView:
    """A column: its heading, its tooltip, and whether the table starts sorted by it."""

    label: str
    title: str = ""
    sorted: str = "none"


@dataclass(frozen=True)
class GroupView:
    """A heading over several columns."""

    label: str
    span: int
    title: str = ""


@dataclass(frozen=True)
class TableView:
    """A table. ``foot`` rows stay below whatever the sorting; ``spreads`` keeps room for ± in every cell."""

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
    """The view of a measured number: percent with one decimal, the fraction to ten digits in ``value``.

    ``seeds`` puts every seed's number into the tooltip.
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
