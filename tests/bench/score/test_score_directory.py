"""``python -m bench score`` on any directory of images."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.draem.detector import DRAEM, DRAEMConfig
from bench.errors import EXIT_FAILED_RUNS
from bench.score.score_directory import category_of, find_images, overlay_name
from datasets.errors import UniBoardError
from datasets.samples.images import load_images
from datasets.samples.sample import Sample
from methods.backbones.backbone import load_backbone
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import open_checkpoint, save_detector
from methods.detector import Batch, Prediction
from methods.feature_spec import FeatureLayout
from tests.support.checkpoints import small_hvq, small_uniad
from tests.support.command_line import invoke
from tests.support.released import write_hvq_trans, write_rlr, write_uniad


def write_images(root: Path, *paths: str, size: tuple[int, int] = (50, 40)) -> Path:
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / path)
    return root


def score(*arguments: object, expected: int = 0):
    result = invoke("score", *(str(argument) for argument in arguments))
    assert result.exit_code == expected, result.output
    return result


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def maps(out: Path) -> dict[str, np.ndarray]:
    with np.load(out / "maps.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("method", "write", "padding", "side"),
    [
        ("uniad", write_uniad, "native", 224),
        ("hvq_trans", lambda file: write_hvq_trans(file, categories=2), "native", 224),
        ("rlr", lambda file: write_rlr(file, (56, 160), image_size=256), "timm", 256),
    ],
)
def test_a_published_checkpoint_gives_the_same_maps_from_this_projects_format(tmp_path, method, write, padding, side):
    images = write_images(tmp_path / "images", "b/1.png", "b/2.png")
    backbone = ("--backbone", "tf_efficientnet_b4", "--weights", "random")
    names = ("--categories", "a,b") if method == "hvq_trans" else ()
    own = tmp_path / "own.safetensors"
    result = score(
        *("--method", method, "--checkpoint", write(tmp_path / "c.pth"), "--images", images),
        *("--out", tmp_path / "one", "--save", own, *backbone, *names),
    )
    assert f"random weights, {padding} padding" in result.output
    score("--checkpoint", own, "--images", images, "--out", tmp_path / "two")
    first, second = maps(tmp_path / "one"), maps(tmp_path / "two")
    assert list(first) == list(second) == ["b/1.png", "b/2.png"]
    for path, map_ in first.items():
        assert (map_.dtype, map_.shape) == (np.float32, (side, side))
        assert np.array_equal(map_, second[path])
    assert np.abs(first["b/1.png"] - first["b/2.png"]).max() > 0
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
    assert {row["how"] for row in rows(tmp_path / "one")} == ({"directory"} if names else {"-"})


def test_maps_scores_and_overlays_are_written_for_every_image(tmp_path):
    names = ("img10.png", "img2.png", "sub dir/größe ü.jpg", "sub dir/grey.bmp")
    images = write_images(tmp_path / "my images", *names)
    out = images / "results"  # inside the directory of images: its overlays must not be scored
    for _ in range(2):
        score("--checkpoint", small_uniad(tmp_path / "u.safetensors"), "--images", images, "--out", out)
        assert list(maps(out)) == ["img2.png", "img10.png", "sub dir/grey.bmp", "sub dir/größe ü.jpg"]
    detector = open_checkpoint(tmp_path / "u.safetensors")
    backbone = load_backbone(BackboneChoice("resnet18", "random"))
    detector = detector.build(detector.layout_with(backbone), torch.device("cpu"))
    pixels = Image.open(images / "img2.png").convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    features = backbone(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None])
    taps = [
        torch.nn.functional.interpolate(f, size=(4, 4), mode="bilinear", align_corners=True) for f in features.values()
    ]
    expected = detector.predict(Batch((torch.cat(taps, dim=1),)))
    np.testing.assert_allclose(maps(out)["img2.png"], expected.maps[0].numpy(), rtol=1e-3, atol=1e-4)
    scored = rows(out)
    assert [row["path"] for row in scored] == list(maps(out))
    assert float(scored[0]["image_score"]) == pytest.approx(float(expected.image_scores[0]), rel=1e-3)
    assert {(row["category"], row["how"]) for row in scored} == {("-", "-")}
    for name in names:
        with Image.open(out / "overlays" / f"{name}.png") as picture:
            assert (picture.size, picture.mode) == ((50, 40), "RGB")


def test_images_are_resized_by_the_filter_of_the_detector(tmp_path, monkeypatch):
    def predict(self: DRAEM, batch: Batch) -> Prediction:
        return Prediction(batch.pixels.float().mean(dim=1), torch.zeros(len(batch)))

    monkeypatch.setattr(DRAEM, "predict", predict)  # its maps show the pixels that it gets
    config = DRAEMConfig(image_size=64, reconstructive_width=2, discriminative_width=2, resize="bilinear")
    detector = DRAEM(config, FeatureLayout(64, (), ()))
    nothing = {"name": "none", "weights": "none", "sha256": "", "padding": "timm"}
    save_detector(tmp_path / "d.safetensors", detector, nothing)
    images = write_images(tmp_path / "images", "a.png", size=(200, 150))
    score("--checkpoint", tmp_path / "d.safetensors", "--images", images, "--out", tmp_path / "out")
    pixels = load_images(images, [Sample("nut", "test", "a.png")], 64, resize="bilinear")
    np.testing.assert_allclose(maps(tmp_path / "out")["a.png"], pixels[0].mean(axis=-1), rtol=1e-5)


def test_a_damaged_image_is_named_and_the_others_are_scored(tmp_path):
    images = write_images(tmp_path / "images", "a.png", "b.png", "c.png")
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:200])
    (images / ".hidden.png").write_bytes(b"not looked at")
    (images / "notes.txt").write_text("no image")
    checkpoint = small_uniad(tmp_path / "u.safetensors")
    result = score("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out", expected=EXIT_FAILED_RUNS)
    assert "Not scored: b.png: " in result.output
    assert "Not read: 1 file with the suffix .txt." in result.output
    assert "2 images scored, 1 not" in result.output
    assert list(maps(tmp_path / "out")) == ["a.png", "c.png"]


def test_pipes_devices_and_links_to_nothing_are_named_and_not_waited_for(tmp_path):
    images = write_images(tmp_path / "images", "a.png")
    os.mkfifo(images / "b.png")
    os.mkfifo(images / "c.tif")
    (images / "d.png").symlink_to("/dev/zero")
    (images / "e.png").symlink_to(tmp_path / "nowhere")
    (images / "f.png").symlink_to(images / "a.png")
    os.mkfifo(images / "notes.txt")
    checkpoint = small_uniad(tmp_path / "u.safetensors")
    result = score("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out", expected=EXIT_FAILED_RUNS)
    for name in ("b.png", "c.tif", "d.png"):
        assert f"Not scored: {name}: {images / name}: can't be read (not an ordinary file" in result.output
    assert "Not scored: e.png: " in result.output
    assert "Not read: 1 file with the suffix .txt." in result.output
    assert list(maps(tmp_path / "out")) == ["a.png", "f.png"]


def test_the_overlays_of_images_with_the_longest_names_get_shorter_ones(tmp_path):
    long = [f"{'x' * 250}{number}.png" for number in (1, 2)]
    wide = f"{'长' * 83}.png"  # 253 bytes
    images = write_images(tmp_path / "images", "a.png", *(f"deep/{name}" for name in (*long, wide)))
    checkpoint = small_uniad(tmp_path / "u.safetensors")
    result = score("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out")
    names = [overlay_name(f"deep/{name}") for name in (*long, wide)]
    written = {file.relative_to(tmp_path / "out" / "overlays").as_posix() for file in tmp_path.glob("out/**/*.png")}
    assert written == {"a.png.png", *names}
    assert len(set(names)) == 3
    assert all(len(os.fsencode(Path(name).name)) <= 255 for name in names)
    for name in names:
        assert f"too long for that of an overlay: it is {Path(name).name}." in result.output
    assert len(rows(tmp_path / "out")) == len(maps(tmp_path / "out")) == 4
    assert overlay_name(f"{'x' * 247}.png") == f"{'x' * 247}.png.png"


def test_a_directory_that_can_not_be_listed_is_named(tmp_path, monkeypatch):
    images = write_images(tmp_path / "images", "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = score(
        "--checkpoint", small_uniad(tmp_path / "u.safetensors"), "--images", images, "--out", tmp_path / "out"
    )
    assert f"Not read: {images / 'locked'}: can't be listed (Permission denied)." in result.output


def test_the_category_is_the_given_one_then_the_directory_then_the_predicted_one(tmp_path):
    images = write_images(tmp_path / "set", "bolt/test/1.png", "2.png")
    checkpoint = small_hvq(tmp_path / "h.safetensors")
    common = ("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out")

    def found() -> list[tuple[str, str]]:
        return [(row["category"], row["how"]) for row in rows(tmp_path / "out")]

    score(*common)
    assert found() == [("cloth", "predicted"), ("bolt", "directory")]
    by_directory = maps(tmp_path / "out")["bolt/test/1.png"]
    score(*common, "--category", "cloth")
    assert found() == [("cloth", "given by --category")] * 2
    assert np.abs(maps(tmp_path / "out")["bolt/test/1.png"] - by_directory).max() > 0
    score(*common, "--set", "hvq_trans.routing=predicted")
    assert found() == [("cloth", "predicted")] * 2
    small_hvq(checkpoint, router=False)
    score(*common)
    assert [how for _, how in found()] == ["predicted (codebook)", "directory"]


def test_the_innermost_directory_counts_and_the_named_one_too():
    known = ("bolt", "test", "cloth")
    assert category_of("cloth/bolt/good/1.png", Path("/data/test"), known) == "bolt"
    assert category_of("good/1.png", Path("/data/test"), known) == "test"
    assert category_of("bolt.png", Path("/data/set"), known) == ""


def test_a_directory_without_images_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Exception, match="has no image"):
        find_images(tmp_path / "empty", tmp_path)


def test_files_that_cannot_be_written_to_their_end_do_not_get_their_names(tmp_path, monkeypatch):
    images = write_images(tmp_path / "images", "1.png")
    checkpoint = small_uniad(tmp_path / "u.safetensors")

    def half(self, file, *args, **options):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(UniBoardError, match="No space left on device"):
        score("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["maps.npz", "scores.csv"]


def write_deep(root: Path, **peaks: int) -> Path:
    """16-bit images with the given largest values."""
    root.mkdir()
    for name, peak in peaks.items():
        values = np.random.default_rng(0).integers(0, peak, (40, 50), endpoint=True)
        values[0, 0] = peak
        Image.fromarray(values.astype(np.uint16)).save(root / f"{name}.png")
    return root


def test_sixteen_bit_images_are_scaled_as_those_of_the_training_were(tmp_path):
    checkpoint = small_uniad(tmp_path / "d.safetensors", value_bits={"bolt": 12, "cloth": 14})
    alone = write_deep(tmp_path / "bolt", dark=500)
    beside = write_deep(tmp_path / "beside", dark=500, bright=16000)
    for images, extra in ((alone, ()), (beside, ("--category", "bolt"))):
        arguments = ("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / f"out-{images.name}", *extra)
        output = score(*arguments).output
        assert "their values are scaled from 12 bits, as those of the training images were." in output
        assert ("Some are larger: they become white." in output) == (images == beside)
    assert np.array_equal(maps(tmp_path / "out-bolt")["dark.png"], maps(tmp_path / "out-beside")["dark.png"])
    saved = tmp_path / "saved.safetensors"
    score("--checkpoint", checkpoint, "--images", alone, "--out", tmp_path / "again", "--save", saved)
    assert open_checkpoint(saved).value_bits == {"bolt": 12, "cloth": 14}
    output = score(
        "--checkpoint", small_uniad(tmp_path / "old.safetensors"), "--images", alone, "--out", tmp_path / "o"
    )
    assert "their values are scaled from 10 bits, the smallest range that holds them." in output.output
