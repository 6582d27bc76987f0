from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from bench.commands.parameters import flag, options_of, takes_options, values_of
from bench.errors import OptionError
from bench.plan.options import Options, Scoring


@pytest.mark.parametrize("cls", [Options, Scoring])
def test_what_the_user_leaves_out_has_the_default_of_its_field(cls):
    given = {name: option.parameter(name).default for name, option in options_of(cls).items()}
    required = {field.name for field in fields(cls) if field.default is MISSING}
    assert {name for name, default in given.items() if default is inspect.Parameter.empty} == required
    values = values_of(cls, {name: default for name, default in given.items() if name not in required})
    assert values == {field.name: field.default for field in fields(cls) if field.name in values}
    assert set(values) == set(given) - required


def test_text_becomes_the_value_of_a_field(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    given = {"methods": "uniad,padim", "seeds": "2", "map_size": "64", "keep": "last", "root": Path("~/parts")}
    given |= {"assignments": ["uniad.steps=1", "padim.channels=2"]}
    assert values_of(Options, given) == {
        "methods": ("uniad", "padim"), "seeds": (0, 1), "map_size": 64, "keep": "last",
        "root": Path("/home/somebody/parts"), "assignments": ("uniad.steps=1", "padim.channels=2"),
    }  # fmt: skip
    with pytest.raises(OptionError, match="BANK_DTYPE=float8: expected float16, float32"):
        values_of(Options, {"bank_dtype": "float8"})


def test_a_command_leaves_options_out_and_has_defaults_and_options_of_its_own():
    seen = {}

    @takes_options(Options, without=("methods",), seeds="1")
    def command(*, steps: int = 0, **given: object) -> None:
        seen.update(given, steps=steps)

    parameters = inspect.signature(command).parameters
    assert "methods" not in parameters
    assert "command" not in parameters, "a field without typer.Option"
    assert (parameters["seeds"].default, parameters["steps"].default) == ("1", 0)
    command(steps=5, seeds="3")
    assert seen == {"steps": 5, "seeds": "3"}


def test_names_on_the_command_line():
    assert [flag(Options, name) for name in ("data_dir", "assignments", "dry_run")] == [
        "--data-dir",
        "--set",
        "--dry-run",
    ]
    assert flag(Scoring, "methods") == "--method"
