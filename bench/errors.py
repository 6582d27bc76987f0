"""Errors of what the user asked for."""

from __future__ import annotations

from datasets.errors import UniBoardError


class OptionError(UniBoardError):
    """Options that can't be met."""
