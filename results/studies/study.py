"""Ablation studies as data: the method, the levels of its fields, and the claim of its paper.

Each study is one TOML file. Studies in ``results/studies`` are found by name, any other study by the path of its file::

    title = "UniAD: which decoder layers have a learned query"
    method = "uniad"
    settings = ["unified"]
    claim = "Queries in every layer keep the decoder from copying its input."
    source = "You et al., NeurIPS 2022"

    [base]                              # the values that every level is compared with, for all presets ...
    query = "all"
    [base.quick]                        # ... and further ones, or other ones, for one preset
    jitter_scale = 20.0
    [impossible.quick]                  # levels that a preset can't have: a window as large as its grid of tokens
    neighbour_size = [9]

    [words.channels]                    # text to show for a value, where the number alone would mislead
    0 = "all"

    [[grid]]                            # every combination of its axes, all other fields as in the base
    query = ["none", "first", "all"]    # an axis: a field and its levels
    mask.off = { mask_encoder = false } # an axis of named levels, each of several fields
    mask.on = { mask_encoder = true }
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from datasets.errors import unknown_name
from datasets.storage.atomic import raise_machine_fault, set_aside, write_bytes
from datasets.storage.ordinary_files import read_bytes
from results.errors import ResultsError
from results.records.record import Setting
from results.rows.labels import shown

KEPT = "studies"
"""Directory of a store for the studies that were run and are not part of this project."""
SHIPPED = Path(__file__).resolve().parent
_MOST_LEVELS = 1000
"""Largest number of combinations of all grids of a study. Each is at least one training."""
Value = bool | int | float | str


class StudyError(ResultsError):
    """A study that can't be read, or whose content is not valid."""


class _Content(BaseModel):
    """The file's content, checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    method: str
    claim: str
    source: str
    settings: tuple[Setting, ...] = ("unified",)
    dataset: str = "synthetic"
    seeds: int = 3
    base: dict[str, Value | dict[str, Value]]
    impossible: dict[str, dict[str, list[Value]]] = {}
    words: dict[str, dict[str, str]] = {}
    grid: tuple[dict[str, list[Value] | dict[str, dict[str, Value]]], ...]


@dataclass(frozen=True)
class Axis:
    """One axis of a grid: a field, or several fields that change together.

    Attributes:
        name: The field, or the name given to several fields that change together.
        levels: (label, values of fields) of each level.
    """

    name: str
    levels: tuple[tuple[str, Mapping[str, Value]], ...]

    @property
    def ordered(self) -> bool:
        """Whether the levels are numbers of one field: they then have an order and distances."""
        values = [list(fields.values()) for _, fields in self.levels]
        return all(len(v) == 1 and isinstance(v[0], int | float) and not isinstance(v[0], bool) for v in values)


@dataclass(frozen=True)
class Level:
    """One combination of values.

    Attributes:
        label: The difference from the base as text, e.g. ``neighbour_size=1``; ``base`` for the base itself.
        fields: Values of all fields that the study touches.
    """

    label: str
    fields: Mapping[str, Value]


@dataclass(frozen=True)
class Study:
    """A study. ``name`` is the name of its file without the ending."""

    name: str
    content: _Content
    path: Path

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.content.method

    @cached_property
    def grids(self) -> tuple[tuple[Axis, ...], ...]:
        """The axes of each grid."""
        return tuple(tuple(self._axis(name, levels) for name, levels in grid.items()) for grid in self.content.grid)

    def _axis(self, name: str, levels: list[Value] | dict[str, dict[str, Value]]) -> Axis:
        if isinstance(levels, dict):
            return Axis(name, tuple(levels.items()))
        return Axis(name, tuple((self.shown(name, value), {name: value}) for value in levels))

    def shown(self, field: str, value: Value) -> str:
        """A value of a field as text: the study's own text for it, if there is one."""
        text = shown(value)
        return self.content.words.get(field, {}).get(text, text)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Every field that is varied, in order of appearance."""
        axes = [axis for grid in self.grids for axis in grid]
        return tuple(dict.fromkeys(field for axis in axes for _, fields in axis.levels for field in fields))

    def base(self, preset: str) -> dict[str, Value]:
        """The fields' values that levels are compared with under a preset."""
        content = self.content.base
        own = content.get(preset, {})
        found = {name: value for name, value in content.items() if not isinstance(value, dict)}
        return found | (own if isinstance(own, dict) else {})

    def covers(self, preset: str) -> bool:
        """Whether the base gives every varied field a value under a preset."""
        return set(self.fields) <= set(self.base(preset))

    def combinations(self, grid: Sequence[Axis], preset: str) -> list[dict[str, Value]]:
        """All fields of the study at every combination of a grid's levels, in order, the last axis fastest."""
        base = self.base(preset)
        chosen = product(*([fields for _, fields in axis.levels] for axis in grid))
        return [reduce(lambda found, fields: found | dict(fields), parts, base) for parts in chosen]

    def levels(self, preset: str) -> tuple[Level, ...]:
        """The base, then every other possible combination of every grid, each once."""
        base = self.base(preset)
        found: dict[str, dict[str, Value]] = {"base": base}
        for grid in self.grids:
            for fields in self.combinations(grid, preset):
                if fields not in found.values() and not self.impossible(fields, preset):
                    found[self.label(fields, preset)] = fields
        return tuple(Level(label, fields) for label, fields in found.items())

    def impossible(self, fields: Mapping[str, Value], preset: str) -> bool:
        """Whether the preset can't have these values."""
        values = self.content.impossible.get(preset, {})
        return any(fields.get(name) in excluded for name, excluded in values.items())

    def label(self, fields: Mapping[str, Value], preset: str) -> str:
        """The difference from the base as text; fields that change together are shown by the name of their axis."""
        base = self.base(preset)
        left = {name: value for name, value in fields.items() if base[name] != value}
        parts = []
        named = {axis.name: axis for grid in self.grids for axis in grid if axis.name not in self.fields}
        for axis in named.values():
            for label, values in axis.levels:
                if left and set(left) & set(values) and all(fields[name] == value for name, value in values.items()):
                    parts.append(f"{axis.name}={label}")
                    left = {name: value for name, value in left.items() if name not in values}
        return ", ".join(parts + [f"{name}={self.shown(name, value)}" for name, value in left.items()]) or "base"

    def keep_in(self, results_dir: Path) -> None:
        """Copy the study next to the records, so that the page finds it. This project's own studies need no copy.

        An earlier version of the study, which has the same title and method, is replaced. A file that can't be read is
        kept under another name.

        Raises:
            StudyError: If a study of this project has the name, or another study that is kept there.
            StorageError: If the directory can't be written.
        """
        if self.path.parent != SHIPPED:
            if (SHIPPED / f"{self.name}.toml").exists():
                raise StudyError(f"{self.path}: {self.name} is a study of this project. Give the file another name.")
            target = results_dir / KEPT / f"{self.name}.toml"
            if target.exists():
                self._require_own(target)
            write_bytes(target, self.path.read_bytes())

    def _require_own(self, target: Path) -> None:
        try:
            kept = read_study(target).content
        except StudyError:
            set_aside(target)
            return
        if (kept.title, kept.method) != (self.content.title, self.content.method):
            raise StudyError(
                f"{self.path}: another study of the name {self.name} was run on {kept.method} and is kept in {target} "
                f'("{kept.title}"). Give your file another name, or remove that one if you don\'t need its page.'
            )


def read_study(path: Path) -> Study:
    """Read a study's file.

    Raises:
        StudyError: If the file is missing or not TOML, an entry is missing, a grid varies a field that is not in the
            base, or the grids have more than 1,000 combinations.
    """
    try:
        study = Study(path.stem, _Content.model_validate(tomllib.loads(read_bytes(path).decode())), path)
    except OSError as error:
        raise_machine_fault(error)
        raise StudyError(f"{path}: can't be read ({error.strerror or error}).") from error
    except ValidationError as error:
        raise StudyError(f"{path}: {_first_problem(error)}") from error
    except (ValueError, RecursionError) as error:  # no TOML or no UTF-8, a huge number, or nested too deeply
        raise StudyError(f"{path}: not a TOML file: {error}.") from error
    known = {name for name, value in study.content.base.items() if not isinstance(value, dict)}
    known |= {name for value in study.content.base.values() if isinstance(value, dict) for name in value}
    for field in study.fields:
        if field not in known:
            raise StudyError(f"{path}: the grid varies {field}, whose value [base] does not give: add it there.")
    if not study.fields:
        raise StudyError(f"{path}: no [[grid]] varies anything.")
    count = sum(math.prod(len(axis.levels) for axis in grid) for grid in study.grids)
    if count > _MOST_LEVELS:
        raise StudyError(
            f"{path}: its grids have {count:,} combinations, each of them a training; at most {_MOST_LEVELS:,} are "
            "run. Write several grids of fewer axes."
        )
    return study


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    entry = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return str(unknown_name("entry", str(problem["loc"][-1]), _Content.model_fields))
    if problem["type"] == "missing":
        return f"{entry} is missing."
    return f"{entry}: {problem['msg']}."


def shipped_studies() -> dict[str, Study]:
    """The studies of this project by name, sorted."""
    return {path.stem: read_study(path) for path in sorted(SHIPPED.glob("*.toml"))}


def known_studies(roots: Iterable[Path], problems: list[tuple[Path, str]] | None = None) -> list[Study]:
    """The studies of this project, and those that are stored next to records.

    Args:
        roots: Directories of records.
        problems: Gets (file, reason) of the stored studies that can't be read; they are left out.
    """
    found = shipped_studies()
    for path in sorted(path for root in roots for path in (root / KEPT).glob("*.toml")):
        try:
            found.setdefault(path.stem, read_study(path))
        except StudyError as error:
            if problems is not None:
                problems.append((path, str(error)))
    return list(found.values())


def find_study(name: str) -> Study:
    """A study of this project by its name, or any other study by the path of its file.

    Raises:
        UnknownNameError: If no study of this project has the name.
        StudyError: If the file can't be read.
    """
    if name.endswith(".toml"):
        return read_study(Path(name).expanduser())
    studies = shipped_studies()
    if name not in studies:
        raise unknown_name("study", name, studies)
    return studies[name]


def has_values(fields: Mapping[str, Value], config: Mapping[str, Any]) -> bool:
    """Whether a configuration has these values."""
    return all(name in config and config[name] == value for name, value in fields.items())
