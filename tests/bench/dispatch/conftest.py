"""Fixture of a claim's holder that is dead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.dispatch.claims import Holder


@pytest.fixture
def dead(dead_process) -> Holder:
    """A process of this machine that has ended."""
    return replace(Holder.here("theirs"), process=dead_process)
