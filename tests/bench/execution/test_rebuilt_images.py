"""Pictures for the gallery of what reconstruction methods rebuild."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import save_file

import bench.execution.rebuilt_images
from bench.execution.rebuilt_images import IMAGE_SIDE, ImageDecoder, draw_rebuilt_images, on_one_grid, prepare_decoder
from bench.execution.thumbnails import keep_pictures
from bench.plan.plan import make_plan
from methods.checkpoints.state_file import read_description, read_state, save_state
from reports.build import build
from results.records.store import Store
from tests.support.benchmarks import run_all

METHODS = ("uniad", "hvq_trans", "padim")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(bench.execution.rebuilt_images, "_STEPS", 10)


def test_pictures_of_rebuilt_features_are_kept_and_shown_on_the_page(options, tmp_path):
    opts = options(METHODS, cache_dir=tmp_path / "cache")
    records = run_all(opts, looks=True)
    store = Store(opts.results_dir)
    for record in records:
        looks = store.looks(record)
        if record.method.name == "padim":
            assert looks == ()
            continue
        assert len(looks) == len(store.scores(record).own) == len(store.maps(record))
        assert all(Image.open(io.BytesIO(look)).size == (IMAGE_SIDE, IMAGE_SIDE) for look in looks)
    # One decoder for all runs that read the same features: UniAD and both routings of HVQ-Trans, in both settings.
    specs = {(repr(one.features)) for one in make_plan(opts) if one.method.name != "padim"}
    assert len(list((tmp_path / "cache/looks").glob("*.safetensors"))) == len(specs)
    keep_pictures(make_plan(opts), store)
    (gallery,) = build(store, tmp_path / "site").parent.glob("gallery-*")
    assert "Rebuilt image" in gallery.read_text(encoding="utf-8")


def test_numbers_are_the_same_with_and_without_pictures(options, tmp_path):
    opts = options(("uniad",), settings=("unified",))
    (without,) = run_all(opts)
    (with_looks,) = run_all(replace(opts, results_dir=tmp_path / "other"), looks=True)
    assert with_looks.comparable() == without.comparable()
    assert Store(opts.results_dir).looks(without) == ()


def test_the_same_features_give_the_same_decoder(options, tmp_path):
    looks = []
    for name in "ab":
        opts = options(
            ("uniad",), settings=("unified",), cache_dir=tmp_path / name, results_dir=tmp_path / f"runs {name}"
        )
        (record,) = run_all(opts, looks=True)
        looks.append(Store(opts.results_dir).looks(record))
    assert looks[0] == looks[1]


def test_a_run_that_begins_trains_the_decoder_unless_another_process_does(options, tmp_path):
    (one, other) = make_plan(options(("uniad", "padim"), settings=("unified",), cache_dir=tmp_path / "cache"))
    prepare_decoder(other, other.detector_class(other.config, other.layout), tmp_path / "cache")
    assert not (tmp_path / "cache/looks").exists()  # PaDiM rebuilds nothing
    detector = one.detector_class(one.config, one.layout)
    prepare_decoder(one, detector, tmp_path / "cache")
    (kept,) = (tmp_path / "cache/looks").glob("*.safetensors")
    content = kept.read_bytes()
    kept.unlink()
    with FileLock(f"{kept}.lock"):
        prepare_decoder(one, detector, tmp_path / "cache")
        assert not kept.exists()
    assert len(draw_rebuilt_images(one, detector, tmp_path / "cache")) > 0
    assert kept.read_bytes() == content


@pytest.mark.parametrize("damage", ["another decoder", "an earlier version", "edited", "cut"])
def test_a_decoder_that_is_not_the_one_of_these_features_is_made_again(options, tmp_path, damage):
    (run,) = make_plan(options(("uniad",), settings=("unified",), cache_dir=tmp_path / "cache"))
    detector = run.detector_class(run.config, run.layout)
    prepare_decoder(run, detector, tmp_path / "cache")
    (kept,) = (tmp_path / "cache/looks").glob("*.safetensors")
    content, state, description = kept.read_bytes(), read_state(kept), read_description(kept)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    if damage == "another decoder":
        save_state(zeros, kept, {"decoder": "0123456789ab"})
    elif damage == "an earlier version":
        save_file(zeros, kept)
    elif damage == "edited":
        save_file(zeros, kept, metadata={"uniboard": json.dumps(description | {"digest": "00"})})
    else:
        kept.write_bytes(content[:-40])
    with pytest.warns(UserWarning, match=f"{kept}: can't be used .*It is made again"):
        prepare_decoder(run, detector, tmp_path / "cache")
    assert kept.read_bytes() == content


def test_only_seed_0_has_pictures_and_a_failing_decoder_fails_no_run(options, monkeypatch):
    opts = options(("uniad",), settings=("unified",), seeds=(0, 1))

    def fail(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr(bench.execution.rebuilt_images, "_decoder", fail)
    with pytest.warns(UserWarning, match=r"what UniAD .*rebuilds \(RuntimeError: no memory\)"):
        records = run_all(opts, looks=True)
    assert [record.status for record in records] == ["ok", "ok"]
    store = Store(opts.results_dir)
    assert store.looks(records[0]) == ()
    assert not store.path_of(records[1]).with_suffix(".maps.npz").exists()


def test_draem_shows_the_images_that_it_rebuilds(options):
    small = ("image_size=64", "reconstructive_width=4", "discriminative_width=4", "steps=2", "procedural_count=2")
    opts = options(("draem",), settings=("unified",), assignments=tuple(f"draem.{one}" for one in small))
    (record,) = run_all(opts, looks=True)
    assert len(Store(opts.results_dir).looks(record)) == len(Store(opts.results_dir).scores(record).own)


def test_taps_are_resized_to_the_finest_grid():
    taps = [torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)]
    together = on_one_grid(taps)
    assert together.shape == (2, 8, 8, 8)
    assert torch.equal(together[:, :3], taps[0])
    assert torch.equal(on_one_grid(taps[:1]), taps[0])


def test_the_decoder_learns_to_paint():
    """Features that contain the colours of an image are painted in these colours."""
    torch.manual_seed(0)
    decoder = ImageDecoder(3)
    colours = torch.rand(16, 3, 1, 1).expand(16, 3, 8, 8)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    wanted = colours[..., :1, :1].expand(16, 3, IMAGE_SIDE, IMAGE_SIDE)
    for _ in range(60):
        loss = torch.nn.functional.l1_loss(decoder([colours]), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    painted = decoder.eval()([colours])
    assert (painted - wanted).abs().mean() < 0.1
    assert np.isfinite(painted.detach().numpy()).all()
