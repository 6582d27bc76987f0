"""Makes a detector's frozen configuration from a preset and from ``--set method.field=value``."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from datasets.errors import unknown_name
from methods.detector import Detector, Preset
from methods.errors import ConfigError

_LARGEST = 2**31 - 1
"""Largest whole number of a field: counts and sizes above it don't fit into the libraries that get them."""
_SHOWN = 80
"""Number of characters of a text that a message shows."""


def find_preset(cls: type[Detector], name: str) -> Preset:
    """The detector's preset of this name.

    Raises:
        UnknownNameError: If there is none; the message has the nearest right names.
    """
    if name not in cls.info.presets:
        raise unknown_name(f"preset of {cls.info.name}", name, cls.info.presets)
    return cls.info.presets[name]


def parse_overrides(assignments: list[str], methods: list[str]) -> dict[str, dict[str, str]]:
    """Parse assignments: ``["uniad.steps=1000"]`` becomes ``{"uniad": {"steps": "1000"}}``.

    Args:
        assignments: Texts from the command line; each may contain several assignments, separated by commas.
        methods: Methods that run. An assignment to another method is an error, because it would change nothing.

    Raises:
        ConfigError: If an assignment does not have the form ``method.field=value``.
        UnknownNameError: If the method is not among those that run.
    """
    overrides: dict[str, dict[str, str]] = {}
    for assignment in _split(assignments):
        target, equals, value = assignment.partition("=")
        method, dot, field = target.strip().partition(".")
        if not equals or not dot or not field:
            raise ConfigError(f"--set {_short(assignment)}: expected method.field=value, e.g. uniad.neighbour_size=5.")
        if method not in methods:
            raise unknown_name("method in --set (of those that run)", method, methods)
        overrides.setdefault(method, {})[field] = value.strip()
    return overrides


def _split(assignments: list[str]) -> list[str]:
    """Split texts at commas that start a new assignment: ``a.x=1,2,b.y=3`` becomes ``a.x=1,2`` and ``b.y=3``."""
    parts: list[str] = []
    for item in assignments:
        for piece in item.split(","):
            if "=" in piece or not parts:
                parts.append(piece)
            else:
                parts[-1] += f",{piece}"
    return [part for part in parts if part.strip()]


def configure(cls: type[Detector], preset: str, overrides: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    """Make a detector's configuration from a preset and overrides.

    Args:
        cls: The detector's class.
        preset: Name of the preset.
        overrides: Values as text, by field.

    Returns:
        The configuration, and the overrides as typed values.

    Raises:
        UnknownNameError: For an unknown preset or field.
        ConfigError: For a value of the wrong type or out of its closed set.
    """
    typed = typed_overrides(cls, overrides)
    config = cls.config_type(**{**find_preset(cls, preset).config, **typed})
    return config, typed


def typed_overrides(cls: type[Detector], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Convert values of a detector's fields from text.

    Raises:
        UnknownNameError: For an unknown field.
        ConfigError: For a value of the wrong type or out of its closed set.
    """
    fields = {field.name: field for field in dataclasses.fields(cls.config_type)}
    hints = typing.get_type_hints(cls.config_type)
    typed: dict[str, Any] = {}
    for name, text in overrides.items():
        if name not in fields:
            raise unknown_name(f"field of {cls.info.name}", name, fields)
        typed[name] = _from_text(text, hints[name], f"{cls.info.name}.{name}")
        numbers = typed[name] if isinstance(typed[name], tuple) else (typed[name],)
        if not numbers or not all(map(_is_sound, numbers)):
            raise ConfigError(
                f"{cls.info.name}.{name}={_short(text)}: expected finite numbers of at least 0; whole numbers are at "
                f"most {_LARGEST}."
            )
    return typed


def _is_sound(value: Any) -> bool:
    if isinstance(value, int):
        return 0 <= value <= _LARGEST
    return not isinstance(value, float) or (math.isfinite(value) and value >= 0)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def split_config(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration as JSON values: fields that change the fit, and fields that change scores at test time only.

    A field with ``metadata={"added": True}`` is left out if it has its default value.
    """
    fit: dict[str, Any] = {}
    score: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata.get("added") and value == field.default:
            continue
        target = score if field.metadata.get("score") else fit
        target[field.name] = list(value) if isinstance(value, tuple) else value
    return fit, score


def _from_text(text: str, hint: Any, name: str) -> Any:
    """Convert text to the type of a field: a number, true or false, a word, or a tuple of numbers.

    The conversion is strict: ``1.5`` and ``true`` are not integers, and ``1`` is neither true nor false.
    """
    origin = typing.get_origin(hint)
    value, expected = text, getattr(hint, "__name__", str(hint))
    if hint is str or origin is Literal:
        value = json.dumps(text)
    elif hint is bool:
        value, expected = text.lower(), "true or false"
    elif origin is tuple:
        value = ",".join(item for item in text.strip("()[] ").split(",") if item.strip())
        value, expected = f"[{value}]", f"{typing.get_args(hint)[0].__name__} or several with commas"
    try:
        return TypeAdapter(hint).validate_json(value, strict=True)
    except ValidationError as error:
        if origin is Literal:
            raise unknown_name(f"value of {name}", text, typing.get_args(hint)) from error
        raise ConfigError(f"{name}={_short(text)}: expected {expected}.") from error
