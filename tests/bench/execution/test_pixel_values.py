"""What the values of pixels mean: whole runs on 16-bit images."""

from __future__ import annotations

import pytest

from tests.datasets.samples.test_value_range import write_deep
from tests.support.benchmarks import make_options, run_all


def test_equal_images_with_other_bits_have_equal_metrics(tmp_path):
    found = {}
    for bits in (8, 12):
        place = tmp_path / str(bits)
        root = write_deep(place / "own", {"part": bits})
        (record,) = run_all(
            make_options(root=root, settings=("separate",), results_dir=place / "r", cache_dir=place / "c")
        )
        found[bits] = record
    assert {bits: record.dataset.value_bits for bits, record in found.items()} == {8: {}, 12: {"part": 12}}
    metrics = [record.results["part"].metrics for record in found.values()]
    assert metrics[0] == pytest.approx(metrics[1])
