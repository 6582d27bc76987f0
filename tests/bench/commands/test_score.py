"""``python -m bench score`` as users call it."""

from __future__ import annotations

import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from bench.commands.app import app, main
from bench.errors import EXIT_USER_ERROR
from tests.support.checkpoints import small_hvq


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--images", "nowhere"], "no such directory"),
        (["--category", "clot"], "Did you mean cloth"),
        (["--method", "uniad"], "holds a detector of 'hvq_trans', not of 'uniad'"),
        (["--backbone-padding", "nativ"], "Did you mean native"),
        (["--backbone-padding", "native"], "is the padding of the published EfficientNets"),
        (["--backbone", "resnet50"], "trained on features of 64 channels on 4x4 + 64"),
        (["--weights", "file"], "needs WEIGHTS_DIR"),
        (["--set", "hvq_trans.width=8"], "belong to the fitted detector"),
        (["--save", "x.pth"], "ends in .safetensors"),
        (["--checkpoint", "none.pth"], "no such file"),
    ],
)
def test_wrong_options_of_score_are_errors(tmp_path, monkeypatch, capsys, more, message):
    images = tmp_path / "set"
    images.mkdir()
    Image.new("RGB", (50, 40)).save(images / "1.png")
    given = {"--checkpoint": small_hvq(tmp_path / "h.safetensors"), "--images": images, "--out": tmp_path / "out"}
    given |= dict([more])
    monkeypatch.setattr(sys, "argv", ["bench", "score", *(str(part) for pair in given.items() for part in pair)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "maps.npz").exists()


def test_help_names_the_options_of_score():
    output = CliRunner().invoke(app, ["score", "--help"], env={"COLUMNS": "200"}).output
    for option in ("--checkpoint", "--images", "--out", "--category", "--backbone-padding", "--weights-dir"):
        assert option in output
