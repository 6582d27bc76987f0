"""In which order learning curves are told: plain networks, then UniAD with ever more of its queries, then others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.rows.row import Row

MLP, CNN, TRANSFORMER, UNIAD = "MLP", "CNN", "transformer", "UniAD"
_PLAIN = {"shortcut_mlp": MLP, "shortcut_cnn": CNN, "shortcut_transformer": TRANSFORMER}
_QUERIES = ("none", "first", "all")


def place(row: Row) -> int | None:
    """Place of the row in the story, 0 to 5; None for methods that are not in it."""
    if row.method.name in _PLAIN:
        return list(_PLAIN).index(row.method.name)
    query = row.method.fit_config.get("query")
    return len(_PLAIN) + _QUERIES.index(query) if row.method.name == "uniad" and query in _QUERIES else None


def published_kind(row: Row) -> str:
    """Of which network a learning curve is published that this row can be held against; empty for none.

    UniAD counts only with all its remedies: a query in every layer, the neighbour masks, the jitter.
    """
    if row.method.name in _PLAIN:
        return _PLAIN[row.method.name]
    config = row.method.fit_config
    masks = all(config.get(name, True) for name in ("mask_encoder", "mask_decoder_cross", "mask_decoder_self"))
    jitters = config.get("jitter_scale", 1) and config.get("jitter_probability", 1)
    return UNIAD if row.method.name == "uniad" and config.get("query") == "all" and masks and jitters else ""


def in_order(rows: Iterable[Row], names: Mapping[str, str]) -> list[Row]:
    """Rows in the order of the story; others follow by name.

    Args:
        rows: Of one table.
        names: Their labels by row id.
    """

    def rank(row: Row) -> tuple[int, str, str]:
        number = place(row)
        return len(_PLAIN) + len(_QUERIES) if number is None else number, names[row.row_id], row.row_id

    return sorted(rows, key=rank)
