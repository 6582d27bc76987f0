"""The GPU that each process sees."""

from __future__ import annotations

import os

from bench.plan.devices import gpu_of, see_only_own_gpu, visible_gpus


def test_each_process_sees_a_gpu_of_its_own(monkeypatch):
    assert visible_gpus(3, {}) == ("0", "1", "2")
    assert visible_gpus(2, {"CUDA_VISIBLE_DEVICES": "5, GPU-7f"}) == ("5", "GPU-7f")
    assert [gpu_of(f"LokyProcess-{n}", ("5", "7")) for n in (1, 2, 3, 12)] == ["5", "7", "5", "7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    see_only_own_gpu("LokyProcess-2", ("5",))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7", "nothing to share out"
    see_only_own_gpu("LokyProcess-2", ("5", "7"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
