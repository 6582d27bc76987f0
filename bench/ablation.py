"""A study's runs: the options of its base and of every level, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.configuration import configure, find_preset, parse_overrides, typed_overrides
from bench.errors import OptionError
from bench.options import Options
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
    preset = options.resolved_preset
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
