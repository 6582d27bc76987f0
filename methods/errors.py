"""Errors of detectors. Their messages are written for the user."""

from __future__ import annotations

from datasets.errors import UniBoardError


class ConfigError(UniBoardError):
    """A hyper-parameter is unknown, has the wrong type, or has a value with which no detector can be built."""


class BackboneError(UniBoardError):
    """A backbone or its weights are not available or can't be used. The message says what to do."""


class FitError(UniBoardError):
    """Training can't continue (e.g. a loss is not a number). The message says when it happened."""


class CheckpointError(UniBoardError):
    """A file of a fitted detector can't be read, or does not match the request. The message names the file."""
