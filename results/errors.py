"""Errors of the results package. Their messages are for users: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ResultsError(Exception):
    """Base of everything that the results package raises on purpose."""


class MetricError(ResultsError):
    """Scores, labels or masks that no metric can be computed from (NaN, wrong shape, wrong type)."""


class RecordError(ResultsError):
    """A record, or a file beside it, that can't be read or written. The message names the file."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say of a wrong name: ``Unknown study 'x'.``, the nearest right ones, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"Unknown {kind} '{name}'. {hint}Known: {', '.join(names) or 'none'}."
