"""The training of the formula backbone on a disk that runs full, and with damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file

from datasets.errors import DatasetError, StorageError
from methods.errors import CheckpointError
from methods.formula_backbone import pretrain as module
from methods.formula_backbone.pool import open_pool
from methods.formula_backbone.pretrain import ARCHITECTURE, pretrain
from methods.training.resume import sealed
from tests.support.pretraining import QUIET, SMALL


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of an undisturbed training."""
    return load_file(pretrain(SMALL, tmp_path_factory.mktemp("whole"), 1, QUIET))


def same(weights: dict[str, torch.Tensor], file: Path) -> bool:
    found = load_file(file)
    return found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_full_disk_ends_it_with_the_path_and_keeps_the_last_checkpoint(tmp_path, small_disk, monkeypatch, whole):
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0.0)
    disk = small_disk(tmp_path / "disk", 80 << 10)
    checkpoint, step, save = disk.place / "checkpoint.pt", [0], torch.save

    def fill_up(state, file) -> None:
        if state["step"] == 4:
            disk.fill(leave=64)
        else:
            step[0] = state["step"]
        save(state, file)

    monkeypatch.setattr(torch, "save", fill_up)
    with pytest.raises(StorageError, match=rf"{checkpoint}: can't be written .*MiB are free there.*last checkpoint"):
        pretrain(SMALL, disk.place, 1, QUIET)
    monkeypatch.undo()
    assert step == [3]
    assert torch.load(checkpoint, weights_only=True)["step"] == 3
    assert {name for name in disk.files() if "pool" not in name} == {"checkpoint.pt"}
    disk.clear()
    assert same(whole, pretrain(SMALL, disk.place, 1, QUIET))


@pytest.mark.parametrize("victim", ["log.csv", f"{ARCHITECTURE}.safetensors", "card.json"])
def test_files_next_to_the_checkpoint_are_written_whole_or_not_at_all(tmp_path, monkeypatch, victim, whole):
    written = module.written

    def full(path, *args):
        if path.name == victim:
            raise StorageError(f"{path}: can't be written (No space left on device).")
        return written(path, *args)

    assert pretrain(SMALL, tmp_path, 1, QUIET, stop_after=2) is None
    before = (tmp_path / "log.csv").read_bytes()
    monkeypatch.setattr(module, "written", full)
    with pytest.raises(StorageError, match=f"{tmp_path / victim}: can't be written"):
        pretrain(SMALL, tmp_path, 1, QUIET)
    monkeypatch.undo()
    assert not (tmp_path / "card.json").exists()
    assert ((tmp_path / "log.csv").read_bytes() == before) == (victim == "log.csv")
    assert same(whole, pretrain(SMALL, tmp_path, 1, QUIET))
    assert (tmp_path / "log.csv").read_text().count("\n") == 7


def test_a_full_disk_under_the_pool_is_an_error_and_what_is_made_stays(tmp_path, small_disk):
    """Also while its parts are joined: through a memory map, a full disk would end the process."""
    expected = open_pool(tmp_path / "roomy", 5, 60, 32)
    disk = small_disk(tmp_path / "disk", 1600)  # a pool has 1200 KiB: either its two parts fit, or the joined file
    with pytest.raises(StorageError, match=rf"{disk.place}/pool-5x60-32.npy: can't be written .No space left"):
        open_pool(disk.place, 5, 60, 32)
    assert disk.files() == {"pool-5x60-32.0000000.npy", "pool-5x60-32.0000256.npy"}
    disk.fill()
    with pytest.raises(StorageError, match="Free some space"):
        open_pool(disk.place / "other", 5, 10, 32)
    roomy = tmp_path / "again"
    roomy.mkdir()
    for name in disk.files():
        (roomy / name).write_bytes((disk.place / name).read_bytes())
    assert np.array_equal(open_pool(roomy, 5, 60, 32, progress=lambda *_: pytest.fail("made again")), expected)


@pytest.mark.parametrize(
    "damage", ["cut", "emptied", "flipped", "foreign", "another recipe", "edited", "beyond the end"]
)
def test_a_damaged_checkpoint_is_reported_with_its_remedy_and_not_used(tmp_path, monkeypatch, capsys, whole, damage):
    assert pretrain(SMALL, tmp_path, 1, QUIET, stop_after=2) is None
    file = tmp_path / "checkpoint.pt"
    content = bytearray(file.read_bytes())
    if damage == "foreign":
        torch.save({"step": 3}, file)
    elif damage == "another recipe":
        state = torch.load(file, weights_only=True)
        del state["digest"]
        torch.save(sealed(state | {"recipe": state["recipe"] | {"seed": 8}}), file)
    elif damage in ("edited", "beyond the end"):
        state = torch.load(file, weights_only=True)
        changed = state | {"step": SMALL.steps + 1}
        if damage == "beyond the end":
            del changed["digest"]
            changed = sealed(changed)
        torch.save(changed, file)
    else:
        content[len(content) // 2] ^= damage == "flipped"
        file.write_bytes(content[: {"cut": len(content) // 2, "emptied": 0}.get(damage, len(content))])
    reason = "it belongs to another recipe. Choose" if damage == "another recipe" else "can't be read .*Delete it"
    with pytest.raises(CheckpointError, match=f"{file}: {reason}"):
        pretrain(SMALL, tmp_path, 1, QUIET)
    monkeypatch.setattr(module, "Recipe", lambda **given: SMALL)
    with pytest.raises(typer.Exit) as stopped:
        module.main(tmp_path)
    assert stopped.value.exit_code == 2
    output = capsys.readouterr().err
    assert f"Error: {file}: " in output
    assert "Traceback" not in output
    file.unlink()
    assert same(whole, pretrain(SMALL, tmp_path, 1, QUIET))


def test_a_damaged_pool_is_reported_with_its_remedy(tmp_path):
    expected = open_pool(tmp_path, 5, 2, 16)
    (file,) = tmp_path.iterdir()
    copy = np.array(expected)
    del expected
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=f"{file}: damaged .*Delete it"):
        open_pool(tmp_path, 5, 2, 16)
    np.save(file, copy[:-1])
    with pytest.raises(DatasetError, match=f"{file}: damaged .*Delete it"):
        open_pool(tmp_path, 5, 2, 16)
    file.unlink()
    assert np.array_equal(open_pool(tmp_path, 5, 2, 16), copy)
