"""The loss curve of a record."""

from __future__ import annotations

import json

from bench.execution.provenance import thin_curve


def test_loss_curves_are_thinned_to_means():
    curve = [(step, float(step)) for step in range(1, 1001)]
    thin = thin_curve(curve)
    assert len(thin) == 200
    assert thin[-1] == (1000, 998.0)
    assert thin_curve([]) == ()
    assert json.dumps(thin)
