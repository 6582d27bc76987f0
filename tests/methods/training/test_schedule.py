"""Schedules of the learning rate."""

from __future__ import annotations

import pytest
import torch

from methods.training.schedule import learning_rate


def test_the_step_schedule_drops_tenfold_after_80_percent():
    rates = [learning_rate("step", step, 1000, 1e-4) for step in range(1000)]
    assert rates[:800] == [1e-4] * 800
    assert rates[800:] == [pytest.approx(1e-5)] * 200


def test_one_cycle_equals_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=300)
    for step in range(300):
        expected = optimiser.param_groups[0]["lr"]
        assert learning_rate("one_cycle", step, 300, 1e-3) == pytest.approx(expected, rel=0.02, abs=1e-8)
        optimiser.step()
        if step < 299:
            scheduler.step()


def test_two_steps_cosine_and_exponential_schedules():
    rates = [learning_rate("two_steps", step, 100, 1.0) for step in (0, 79, 80, 89, 90, 99)]
    assert rates == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    tenfold = [learning_rate("two_tenfold_steps", step, 700, 1.0) for step in (399, 400, 599, 600)]
    assert tenfold == pytest.approx([1, 0.1, 0.1, 0.01])
    assert [learning_rate("cosine", step, 100, 2.0) for step in (0, 50)] == pytest.approx([2.0, 1.0])
    assert learning_rate("cosine", 99, 100, 2.0) < 1e-3
    # FCDD: after 20 of 200 epochs the rate was multiplied 20 times.
    assert learning_rate("exponential", 20, 200, 1.0) == pytest.approx(0.985**20)
