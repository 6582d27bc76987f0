"""Seeds of runs."""

from __future__ import annotations

import random

from bench.plan.seeding import run_seed


def test_seeds_depend_on_names_alone_and_differ():
    names = [("d", "unified", ("a", "b"), "m"), ("d", "separate", ("a",), "m"), ("d", "separate", ("b",), "m")]
    seeds = {run_seed(seed, *name) for seed in range(50) for name in names}
    assert len(seeds) == 150
    shuffled = ["b", "a"]
    random.shuffle(shuffled)
    assert run_seed(0, "d", "unified", shuffled, "m") == run_seed(0, *names[0])
