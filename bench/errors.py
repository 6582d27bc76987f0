"""Errors that the options of the user cause, and the exit codes of the command line."""

from __future__ import annotations

from datasets.errors import UniBoardError


class OptionError(UniBoardError):
    """The options are wrong, or do not go together."""


class StoppedError(UniBoardError):
    """The user or the system stopped the benchmark. The message says what is kept."""


EXIT_FAILED_RUNS = 1
EXIT_USER_ERROR = 2
EXIT_STOPPED = 130
"""The exit code that shells give to a program that Ctrl-C ended."""
