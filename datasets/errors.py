"""Errors for the user: the message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LISTED = 60
"""Above this number, known names are counted instead of listed."""


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, except tab and line feed, and those that change the direction of text."""


def printable(text: str) -> str:
    """The text as it can be printed and written.

    Parts of file names that are not valid UTF-8 are escaped, and so are control characters, by which a name or an
    answer of a server could command the terminal.
    """
    valid = text.encode(errors="backslashreplace").decode()
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], valid)


class UniBoardError(Exception):
    """Base of every error that the command line prints as a message instead of a traceback."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class DatasetError(UniBoardError):
    """A dataset is missing, incomplete, or holds a file that can't be used. The message names the file."""


class StorageError(UniBoardError):
    """A fault of the machine, or a file in another's place.

    Faults of the machine are: a file can't be written (disk full, read-only or over quota), all data is gone, no more
    files can be opened, or no more threads be started. The run in progress is not the cause. It is not recorded as
    failed, and is repeated when the machine works again.
    """


class UnknownNameError(UniBoardError):
    """A name is not registered. The message lists the most similar registered names."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown name; its message suggests similar names.

    Args:
        kind: What kind of name it is, e.g. ``"method"``.
        name: The name as given.
        known: All valid names.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=3, cutoff=0.5)
    nearest = [n for close in near for n in names if n.lower() == close]  # the nearest first
    hint = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
    some = ", ".join(names) if len(names) <= _LISTED else f"{len(names)} names, {', '.join(names[:3])}, ..."
    return UnknownNameError(f"Unknown {kind} '{name}'. {hint}Known: {some or 'none'}.")
