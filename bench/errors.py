"""Errors of what the user asked for, and the exit codes of the command line."""

from __future__ import annotations

from datasets.errors import UniBoardError


class OptionError(UniBoardError):
    """Options that can't be met."""


class StoppedError(UniBoardError):
    """The user, or the system, ended the benchmark. The message says what is kept."""


EXIT_FAILED_RUNS = 1
EXIT_USER_ERROR = 2
EXIT_STOPPED = 130
"""As shells have it for what Ctrl-C ended."""
