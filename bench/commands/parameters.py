"""Makes the fields of a dataclass the options of a command. The fields are in ``bench/plan/options.py``."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from typer.models import OptionInfo

from bench.errors import OptionError


@dataclasses.dataclass(frozen=True)
class _Option:
    """A field that is an option.

    Attributes:
        type: The type of the field's value.
        info: Help text, bounds, and the option's name if it differs from the field's.
        parse: Turns the text that the user types into the value; None if typer does so.
        default: The field's default; ``inspect.Parameter.empty`` if the user must give a value.
    """

    type: Any
    info: OptionInfo
    parse: Callable[[str], Any] | None
    default: Any

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that are allowed; empty if any value is."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is Literal else ()

    @property
    def repeated(self) -> bool:
        """Whether the option may be given several times."""
        return self.parse is None and typing.get_origin(self.type) is tuple

    def parameter(self, name: str) -> inspect.Parameter:
        """The parameter from which typer makes the option."""
        typed, default = self.type, self.default
        if self.repeated:
            typed, default = list[str] | None, None
        elif self.parse or self.choices:
            typed, default = str, "" if default == () else str(default)
        annotation = Annotated[typed, self.info]  # type: ignore[valid-type]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    def value(self, name: str, given: Any) -> Any:
        """The value of the field.

        Raises:
            OptionError: If the text is not one of the choices, or can't be parsed.
        """
        if self.choices and given not in self.choices:
            raise OptionError(f"{name.upper()}={given}: expected {', '.join(self.choices)}.")
        if self.repeated:
            return tuple(given or ())
        if isinstance(given, Path):
            return home_expanded(given)  # not every shell expands ~ behind an equals sign
        return self.parse(given) if self.parse else given


def home_expanded(path: Path) -> Path:
    """The path with ``~`` and ``~name`` replaced by the home directory.

    Raises:
        OptionError: If there is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise OptionError(f"{path}: there is no home directory of this user. Write the whole path.") from error


def options_of(cls: type) -> dict[str, _Option]:
    """The options of a dataclass, by the names of their fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    options = {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if typing.get_origin(hint) is Annotated:
            typed, info, *parse = typing.get_args(hint)
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            options[field.name] = _Option(typed, info, parse[0] if parse else None, default)
    return options


def flag(cls: type, name: str) -> str:
    """The option of a field as it is written on the command line, e.g. ``--data-dir``."""
    named = options_of(cls)[name].info.default  # within Annotated, the first argument of typer.Option is a name
    return named if isinstance(named, str) else f"--{name.replace('_', '-')}"


def takes_options(
    cls: type, without: Collection[str] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes ``**given`` the options of a dataclass.

    Args:
        cls: The dataclass.
        without: Fields that are not options of this command.
        **defaults: Defaults of this command that differ from those of the fields, as the user would type them.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            command(**given)

        shared = [option.parameter(name) for name, option in options_of(cls).items() if name not in without]
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [p.replace(default=defaults.get(p.name, p.default)) for p in shared] + own
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate


def values_of(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass's fields from the options of a command; fields that the command lacks are left out.

    Raises:
        OptionError: If a text is not a value of its field.
    """
    return {name: option.value(name, given[name]) for name, option in options_of(cls).items() if name in given}
