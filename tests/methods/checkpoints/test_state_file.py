"""Fitted states in safetensors files."""

from __future__ import annotations

import torch

from methods.checkpoints.state_file import read_state, save_state
from methods.detector import FitContext
from tests.support.trainings import CPU, train


def test_states_are_safetensors(tmp_path):
    detector, _ = train(FitContext(0, CPU))
    save_state(detector.state(), tmp_path / "deep" / "state.safetensors")
    read = read_state(tmp_path / "deep" / "state.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in detector.state().items())
