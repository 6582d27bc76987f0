"""The study of the identical shortcut: three plain networks beside UniAD without, with one, and with all its queries.

You et al., NeurIPS 2022, argue that plain networks learn to copy their input, so that the training loss goes on
falling while detection gets worse, and that learned queries prevent it. All six train in the unified setting on
the same features with the same budget, and record learning curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.configuration import parse_overrides
from bench.errors import OptionError
from bench.options import Options

PLAIN = ("shortcut_mlp", "shortcut_cnn", "shortcut_transformer")
UNIAD = "uniad"


def shortcut_options(options: Options, steps: int = 0, batch_size: int = 0, precision: str = "") -> list[Options]:
    """The study's options of one dataset, to be run as one plan.

    Args:
        options: What all have in common. Assignments may name any of the four methods; ``uniad.query`` is what varies.
        steps: Optimiser steps of all; 0 for the preset's.
        batch_size: Images per step of all; 0 for the preset's.
        precision: Of all trainings; empty for the preset's.

    Returns:
        The plain networks with UniAD as it is, then UniAD without queries and with one in its first layer only.

    Raises:
        OptionError: Without learning curves, or where the query is set.
        ConfigError: For an assignment of another form than ``method.field=value``.
        UnknownNameError: For an assignment to another method.
    """
    if options.curves < 1:
        raise OptionError("CURVES=0: this study is about learning curves; give the epochs between two points.")
    given = parse_overrides(list(options.assignments), [*PLAIN, UNIAD])
    if "query" in given.get(UNIAD, {}):
        raise OptionError("--set uniad.query: this study runs all of none, first and all.")
    wanted = {"steps": steps, "batch_size": batch_size, "precision": precision}
    budget = {field: str(value) for field, value in wanted.items() if value}

    def variant(methods: Sequence[str], query: str = "") -> Options:
        fields = [
            f"{method}.{field}={value}"
            for method in methods
            for field, value in (budget | given.get(method, {})).items()
        ]
        if query:
            fields.append(f"{UNIAD}.query={query}")
        return replace(options, methods=tuple(methods), settings=("unified",), assignments=tuple(fields))

    return [variant([*PLAIN, UNIAD]), variant([UNIAD], "none"), variant([UNIAD], "first")]
