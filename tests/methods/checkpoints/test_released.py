"""Published checkpoints: which files are read and which are refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from methods.checkpoints.checkpoint import open_checkpoint
from methods.checkpoints.released import read_checkpoint
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.detector import HVQTrans
from methods.uniad.config import UniADConfig
from tests.support.released import (
    hvq_trans_shapes,
    random_tensors,
    rlr_shapes,
    uniad_shapes,
    write_hvq_trans,
    write_rlr,
    write_uniad,
)

CPU = torch.device("cpu")
MVTEC = (
    *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut"),
    *("pill", "screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
)


@pytest.fixture(scope="module")
def uniad(tmp_path_factory) -> Path:
    return write_uniad(tmp_path_factory.mktemp("uniad") / "ckpt.pth.tar", best_metric=np.float64(0.97))


def rewritten(file: Path, changed: dict, target: Path) -> Path:
    """A copy of a UniAD file with other tensors; None removes a tensor."""
    content = torch.load(file, weights_only=False)
    for name, tensor in changed.items():
        content["state_dict"][f"module.reconstruction.{name}"] = tensor
    content["state_dict"] = {name: tensor for name, tensor in content["state_dict"].items() if tensor is not None}
    torch.save(content, target)
    return target


def built(file: Path, method: str, **more):
    checkpoint = open_checkpoint(file, method, **more)
    return checkpoint, checkpoint.build(checkpoint.layout, CPU)


def test_a_published_uniad_has_every_name_and_shape_of_the_detector(uniad):
    checkpoint, detector = built(uniad, "uniad")
    assert checkpoint.config == UniADConfig()
    assert checkpoint.remarks == ()
    state = detector.state()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == uniad_shapes()
    expected = random_tensors(uniad_shapes())
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert detector.trainable_parameters() == 7_717_392


def test_the_prefix_of_parallel_training_may_be_absent(uniad, tmp_path):
    bare = write_uniad(tmp_path / "bare.pth", prefix="")
    assert read_checkpoint(bare, "uniad").keys() == read_checkpoint(uniad, "uniad").keys()


def test_a_published_rlr_is_a_list_of_levels(tmp_path):
    checkpoint, detector = built(write_rlr(tmp_path / "rlr.pth"), "rlr")
    assert checkpoint.remarks == ()
    assert checkpoint.layout == FeatureLayout(256, (72, 200), (32, 16))
    shapes = {name: tuple(tensor.shape) for name, tensor in detector.state().items()}
    assert shapes == {f"levels.0.{name}": shape for name, shape in rlr_shapes(72, 1024, 256).items()} | {
        f"levels.1.{name}": shape for name, shape in rlr_shapes(200, 256, 512).items()
    }
    assert detector.trainable_parameters() == 21_514_512


def test_sizes_other_than_the_papers_follow_from_the_shapes(tmp_path):
    small = write_uniad(tmp_path / "u.pth", random_tensors(uniad_shapes(grid=16, channels=512)))
    checkpoint, detector = built(small, "uniad")
    assert (checkpoint.config.image_size, checkpoint.layout.total_channels) == (256, 512)
    assert checkpoint.remarks == ("image_size is 256 by the shapes (the paper: 224)",)
    assert detector.sizes().startswith("256 px, 16x16 tokens")
    checkpoint, _ = built(write_rlr(tmp_path / "r.pth", (56, 160), image_size=512), "rlr")
    assert checkpoint.config.windows == (11, 7)
    assert checkpoint.layout == FeatureLayout(512, (56, 160), (64, 32))


def test_a_published_hvq_trans_of_15_categories_is_mvtecs(tmp_path):
    file = write_hvq_trans(tmp_path / "hvq.pth")
    checkpoint, detector = built(file, "hvq_trans")
    assert checkpoint.layout.categories == MVTEC
    assert checkpoint.config == HVQTransConfig()
    assert detector.trainable_parameters() == 18_014_192
    found = read_checkpoint(file, "hvq_trans")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == hvq_trans_shapes()
    assert all(torch.equal(detector.state()[name], tensor) for name, tensor in found.items())
    assert not detector.router.fitted


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_proj.bias": None}, "1 missing: input_proj.bias"),
        ({"neck.weight": torch.zeros(2)}, "1 left over: neck.weight"),
        ({"output_proj.bias": torch.zeros(3)}, r"1 of another shape: output_proj.bias \(3 instead of 272\)"),
        ({"input_proj.bias": None, "extra": torch.zeros(2)}, "1 missing: input_proj.bias. 1 left over: extra"),
        ({f"more.{i}": torch.zeros(1) for i in range(14)}, "14 left over: more.0, .*more.9 and 4 more"),
    ],
)
def test_wrong_keys_are_named_with_the_file(uniad, tmp_path, changed, message):
    file = rewritten(uniad, changed, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=rf"wrong\.pth: .*{message}"):
        built(file, "uniad")


def test_wrong_keys_of_the_other_methods_are_named_too(tmp_path):
    levels = [random_tensors(rlr_shapes(72, 1024, 256)), random_tensors(rlr_shapes(200, 256, 512))]
    del levels[1]["encoder.encode_layers.2.nsa.out_proj.bias"]
    torch.save({"state_dict": levels}, tmp_path / "rlr.pth")
    with pytest.raises(CheckpointError, match=r"1 missing: levels\.1\.encoder\.encode_layers\.2\.nsa\.out_proj\.bias"):
        built(tmp_path / "rlr.pth", "rlr")
    tensors = random_tensors(hvq_trans_shapes(2)) | {"router.weight": torch.zeros(1)}
    del tensors["quantize_list_3.1.embed"]
    file = write_hvq_trans(tmp_path / "hvq.pth", tensors=tensors)
    with pytest.raises(CheckpointError, match=r"missing: quantize_list_3\.1\.embed"):
        built(file, "hvq_trans", categories=("a", "b"))


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_that_holds_code_is_refused_and_the_code_is_not_run(tmp_path, archive):
    file, trace = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": Malicious(trace)}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(CheckpointError, match=r"evil\.pth: refused.*Save the tensors alone"):
        read_checkpoint(file, "uniad")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace)))  # noqa: S301 - this shows that the trap works
    assert trace.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"\x80\x02\xff\xff", b"PK\x03\x04" + b"\0" * 50])
def test_other_files_are_no_checkpoints(tmp_path, content):
    file = tmp_path / "file.pth"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"file\.pth: not a checkpoint"):
        read_checkpoint(file, "uniad")


def small_hvq(categories: tuple[str, ...]) -> HVQTrans:
    torch.manual_seed(0)
    config = HVQTransConfig(image_size=64, width=16, heads=4, feedforward=16, codes=8, layers=2, levels=3)
    return HVQTrans(config, FeatureLayout(64, (6, 6, 6, 6), (4, 4, 4, 4), categories))


def test_without_a_router_the_nearest_top_codebook_decides_the_category():
    detector = small_hvq(("one", "other", "third"))
    features = torch.rand(3, 24, 4, 4)
    with torch.no_grad():
        tokens = detector.network.encode(features)[-1]  # (3, 16, 16)
        for image, category in enumerate((2, 0, 1)):
            detector.network.codebook(2, category).embed.copy_(tokens[image, :8].t())
    names, how = detector.choose_categories(features)
    assert names == ("third", "one", "other")
    assert how == "predicted (codebook)"
    detector.router.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
    detector.router.weight[0, 0] = 1e-9
    assert detector.choose_categories(features) == (("third",) * 3, "predicted")
    assert small_hvq(("alone",)).choose_categories(features) == (("alone",) * 3, "predicted")


@pytest.mark.parametrize("prefix", ["_orig_mod.module.", "module._orig_mod.", "_orig_mod."])
def test_the_prefix_of_compiled_networks_is_removed(uniad, tmp_path, prefix):
    other = write_uniad(tmp_path / "compiled.pth", prefix=prefix)
    assert read_checkpoint(other, "uniad").keys() == read_checkpoint(uniad, "uniad").keys()


def test_a_directory_and_a_missing_file_are_named_with_what_lies_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"ckpt.pth: no such file\.$"):
        open_checkpoint(tmp_path / "ckpt.pth", "uniad")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"ckpt.pth: no such file\. .* holds model.safetensors: name one"):
        open_checkpoint(tmp_path / "ckpt.pth", "uniad")
    with pytest.raises(CheckpointError, match=r"a directory, not a file\. .* holds model.safetensors: name one"):
        open_checkpoint(tmp_path, "uniad")


def test_a_file_without_state_dict_says_what_it_holds(tmp_path):
    torch.save({"weights": torch.zeros(1), "epoch": 3}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"has none, but a dict of epoch, weights. Name the file"):
        open_checkpoint(tmp_path / "odd.pth", "uniad")
