"""Errors of detectors, written for the person at the keyboard."""

from __future__ import annotations

from datasets.errors import UniBoardError


class ConfigError(UniBoardError):
    """A hyper-parameter is unknown, of the wrong type, or makes no detector."""


class BackboneError(UniBoardError):
    """A backbone or its weights can't be had. The message says how to get them."""


class FitError(UniBoardError):
    """Training can't go on (e.g. a loss that is not a number). The message says when it happened."""


class CheckpointError(UniBoardError):
    """A file of a fitted detector can't be read, or does not fit what is asked of it. The message names the file."""
