"""A study's runs: the options of its base and of every level, checked before anything is trained.

The study of the identical shortcut: three plain networks beside UniAD without, with one, and with all its queries.

You et al., NeurIPS 2022, argue that plain networks learn to copy their input, so that the training loss goes on
falling while detection gets worse, and that learned queries prevent it. All six train in the unified setting on
the same features with the same budget, and record learning curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.errors import OptionError
from bench.plan.configuration import configure, find_preset, parse_overrides, typed_overrides
from bench.plan.options import Options
from bench.plan.resolve import resolve
from methods.detector import Detector
from methods.registry import find_detector
from results.studies.study import Study, StudyError, Value, shipped_studies

ALL_STUDIES = "all"
"""Stands for every study of this project."""


def study_options(options: Options, study: Study) -> list[Options]:
    """The study's options of one dataset, to be run as one plan: the base first.

    Args:
        options: What all levels have in common. Assignments may name the study's method, but no field that it varies.
        study: Which.

    Returns:
        One entry for each level; what the base has in common with the preset is not set, so that its rows are those
        of the leaderboard.

    Raises:
        OptionError: If an assignment sets what the study varies.
        StudyError: If the base of the study is not what the preset and the assignments make.
        UnknownNameError: For wrong names of methods, fields and levels, with the nearest right ones.
        ConfigError: For a level of the wrong type.
    """
    preset = resolve(options).preset
    cls = find_detector(study.method)
    given = parse_overrides(list(options.assignments), [study.method]).get(study.method, {})
    varied = [field for field in study.fields if field in given]
    if varied:
        raise OptionError(f"SET={study.method}.{varied[0]}: the study {study.name} varies it. Set other fields only.")
    _require_base(study, cls, preset, given)
    found = []
    for level in study.levels(preset):
        typed_overrides(cls, _texts(level.fields))
        own = {name: value for name, value in level.fields.items() if value != study.base(preset)[name]}
        fields = given | _texts(own)
        found.append(
            replace(
                options,
                methods=(study.method,),
                settings=study.content.settings,
                assignments=tuple(f"{study.method}.{name}={text}" for name, text in fields.items()),
            )
        )
    return found


def _require_base(study: Study, cls: type[Detector], preset: str, given: Mapping[str, str]) -> None:
    """The base is what runs when nothing of the study is set: its rows are then those of the leaderboard."""
    find_preset(cls, preset)
    config, _ = configure(cls, preset, given)
    base = study.base(preset)
    typed_overrides(cls, _texts(base))
    actual = {field: getattr(config, field) for field in study.fields}
    if any(base.get(field) != value for field, value in actual.items()):
        lines = "\n".join(f"{field} = {_toml(value)}" for field, value in actual.items())
        raise StudyError(
            f"{study.path}: its base is not what the preset {preset} of {study.method} has. Write\n"
            f"[base.{preset}]\n{lines}"
        )


def chosen_studies(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, ``all`` for those of every study of this project."""
    return tuple(shipped_studies()) if names == (ALL_STUDIES,) else names


def _texts(fields: Mapping[str, Value]) -> dict[str, str]:
    return {name: _toml(value).strip('"') for name, value in fields.items()}


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


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
