"""The examples in the docstrings of the metrics are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["image", "pixel", "ranking", "regions", "result"])
def test_examples(module):
    outcome = doctest.testmod(importlib.import_module(f"results.metrics.{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
