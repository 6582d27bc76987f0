"""Fitted states in safetensors files."""

from __future__ import annotations

import pytest
import torch

from methods.checkpoints.state_file import content_digest, read_state, save_state
from methods.detector import FitContext
from methods.errors import CheckpointError
from tests.support.trainings import CPU, train


def test_states_are_safetensors(tmp_path):
    detector, _ = train(FitContext(0, CPU))
    save_state(detector.state(), tmp_path / "deep" / "state.safetensors")
    read = read_state(tmp_path / "deep" / "state.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in detector.state().items())


def test_a_state_that_does_not_match_its_digest_is_an_error(tmp_path):
    state = {"weight": torch.arange(6.0), "bias": torch.ones(2, dtype=torch.bfloat16), "count": torch.tensor(3)}
    file = tmp_path / "state.safetensors"
    save_state(state, file, {"fit_id": "one"})
    assert all(torch.equal(read_state(file)[name], tensor) for name, tensor in state.items())
    content = file.read_bytes()
    for changed in (content[:-1] + b"\x01", content.replace(b"one", b"two")):
        assert changed != content
        file.write_bytes(changed)
        with pytest.raises(CheckpointError, match=f"{file}: damaged: its content does not match the digest"):
            read_state(file)


def test_the_digest_of_a_content_sees_types_shapes_names_and_values_but_not_the_order_of_names():
    content = {"a": torch.zeros(2, 3), "b": [1, 2.0, "x", None], "c": {"d": True}}
    assert content_digest(content) == content_digest(dict(reversed(content.items())))
    others = [
        content | {"a": torch.zeros(3, 2)}, content | {"a": torch.zeros(2, 3).half()},
        content | {"a": torch.ones(2, 3)},
        content | {"b": [1, 2.0, None, "x"]}, content | {"b": [1.0, 2.0, "x", None]}, content | {"c": {"d": 1}},
        content | {"e": 0}, {"a": content["a"], "b": content["b"], "d": content["c"]},
    ]  # fmt: skip
    assert len({content_digest(one) for one in (content, *others)}) == 9
