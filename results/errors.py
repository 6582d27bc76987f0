"""Errors of the results package. Their messages say to the user what is wrong, where, and what to do."""

from __future__ import annotations

from datasets.errors import UniBoardError


class ResultsError(UniBoardError):
    """Base of everything that the results package raises on purpose."""


class MetricError(ResultsError):
    """Scores, labels or masks that no metric can be computed from (NaN, wrong shape, wrong type)."""


class RecordError(ResultsError):
    """A record, or one of its array files, that can't be read or used. The message names the file."""
