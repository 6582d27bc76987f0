"""Makes the options of studies: of every level of an ablation study, and of the study of the identical shortcut.

An ablation study is checked before anything is trained. The shortcut study compares three plain networks with UniAD
without queries, with one, and with all its queries. You et al., NeurIPS 2022, argue that plain networks learn to copy
their input, so that the training loss keeps falling while detection gets worse, and that learned queries prevent it.
All six detectors are trained in the unified setting on the same features with the same budget, and their learning
curves are recorded.
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
"""The name that means every study of this project."""


def study_options(options: Options, study: Study) -> list[Options]:
    """The options of a study on one dataset, to be executed as one plan, the base first.

    Args:
        options: The options that all levels share. Assignments may set fields of the study's method, except those that
            the study varies.
        study: The ablation study.

    Returns:
        One entry for each level. Fields in which the base agrees with the preset are not set, so that the base's rows
        are those of the leaderboard.

    Raises:
        OptionError: If an assignment sets a field that the study varies.
        StudyError: If the base of the study differs from what the preset and the assignments give.
        UnknownNameError: For wrong names of methods, fields and levels; the message has the nearest right ones.
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
    """Raise a ``StudyError`` unless the base is what runs when nothing is set: its rows are then the leaderboard's."""
    find_preset(cls, preset)
    config, _ = configure(cls, preset, given)
    base = study.base(preset)
    typed_overrides(cls, _texts(base))
    actual = {field: getattr(config, field) for field in study.fields}
    if any(base.get(field) != value for field, value in actual.items()):
        lines = "\n".join(f"{field} = {_toml(value)}" for field, value in actual.items())
        raise StudyError(
            f"{study.path}: the base differs from the preset {preset} of {study.method}. Write\n"
            f"[base.{preset}]\n{lines}"
        )


def chosen_studies(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the chosen studies; ``all`` means every study of this project.

    Raises:
        OptionError: If there is none.
    """
    if not names:
        raise OptionError("STUDY is empty: name a study, e.g. STUDY=uniad-query, the file of one, or all.")
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
    """The options of the shortcut study on one dataset, to be executed as one plan.

    Args:
        options: The options that all trainings share. Assignments may set fields of any of the four methods, except
            ``uniad.query``, which the study varies.
        steps: Optimiser steps of every training; 0 for the preset's.
        batch_size: Images per step of every training; 0 for the preset's.
        precision: Number format of every training; empty for the preset's.

    Returns:
        The plain networks with UniAD as it is, then UniAD without queries, then UniAD with one in its first layer only.

    Raises:
        OptionError: If there are no learning curves, or an assignment sets the query.
        ConfigError: For an assignment of another form than ``method.field=value``.
        UnknownNameError: For an assignment to another method.
    """
    if options.curves < 1:
        raise OptionError("CURVES=0: this study compares learning curves. Give the epochs between two points.")
    given = parse_overrides(list(options.assignments), [*PLAIN, UNIAD])
    if "query" in given.get(UNIAD, {}):
        raise OptionError("--set uniad.query: this study runs UniAD with each query: none, first and all.")
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
