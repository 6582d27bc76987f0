"""Fixtures that several test packages share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_threads_everywhere():
    """Determinism is claimed for the same number of threads: a test must not inherit another's."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
