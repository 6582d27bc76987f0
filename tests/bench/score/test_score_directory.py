"""``bench score`` on images of any kind, and ``bench run --checkpoint`` under the protocol."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from bench.commands.app import app, main
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from bench.plan.checkpoints import backbone_choice
from bench.plan.plan import make_plan
from bench.score.outputs import CommonScale, map_archive, overlay
from bench.score.score_directory import category_of, find_images
from datasets.errors import UnknownNameError
from methods.backbones.backbone import load_backbone
from methods.backbones.choice import BackboneChoice
from methods.checkpoints.checkpoint import open_checkpoint, remarks_on, save_detector
from methods.detector import Batch
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.hvq_trans.config import HVQTransConfig
from methods.hvq_trans.detector import HVQTrans
from methods.uniad.config import UniADConfig
from methods.uniad.detector import UniAD
from reports.parts.metric_tables import badges
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.command_line import invoke
from tests.support.released import write_hvq_trans, write_rlr, write_uniad

CHANNELS = (64, 64, 128, 256)  # of resnet18 at strides 2 to 16
GRIDS = (4, 4, 4, 4)


def write_images(root: Path, *paths: str, size: tuple[int, int] = (50, 40)) -> Path:
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / path)
    return root


def recorded() -> dict[str, str]:
    sha256 = load_backbone(BackboneChoice("resnet18", "random")).sha256
    return {"name": "resnet18", "weights": "random", "sha256": sha256, "padding": "timm"}


def small_uniad(file: Path) -> Path:
    torch.manual_seed(0)
    config = UniADConfig(image_size=64, width=32, heads=4, feedforward=32, neighbour_size=1)
    save_detector(file, UniAD(config, FeatureLayout(64, CHANNELS, GRIDS, ("bolt", "cloth"))), recorded())
    return file


def small_hvq(file: Path, categories: tuple[str, ...] = ("bolt", "cloth"), *, router: bool = True) -> Path:
    torch.manual_seed(0)
    config = HVQTransConfig(image_size=64, width=16, heads=4, feedforward=16, codes=8, layers=2, levels=3)
    detector = HVQTrans(config, FeatureLayout(64, CHANNELS, GRIDS, categories))
    if router:
        detector.router.weight[0, 0] = 1e-9
        detector.router.bias[1] = 1.0  # always the second
    save_detector(file, detector, recorded())
    return file


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
    out = images / "results"  # inside: its overlays are no images
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


def test_a_damaged_image_is_named_and_the_others_are_scored(tmp_path):
    images = write_images(tmp_path / "images", "a.png", "b.png", "c.png")
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:200])
    (images / ".hidden.png").write_bytes(b"not looked at")
    (images / "notes.txt").write_text("no image")
    checkpoint = small_uniad(tmp_path / "u.safetensors")
    result = score("--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out", expected=EXIT_FAILED_RUNS)
    assert "Not scored: b.png: " in result.output
    assert "2 images scored, 1 not" in result.output
    assert list(maps(tmp_path / "out")) == ["a.png", "c.png"]


def test_the_category_is_given_then_of_the_directory_then_predicted(tmp_path):
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
def test_what_can_not_be_scored_is_told(tmp_path, monkeypatch, capsys, more, message):
    images = write_images(tmp_path / "set", "1.png")
    given = {"--checkpoint": small_hvq(tmp_path / "h.safetensors"), "--images": images, "--out": tmp_path / "out"}
    given |= dict([more])
    monkeypatch.setattr(sys, "argv", ["bench", "score", *(str(part) for pair in given.items() for part in pair)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "maps.npz").exists()


def test_a_directory_without_images_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Exception, match="holds no image"):
        find_images(tmp_path / "empty", tmp_path)


def test_other_weights_than_the_recorded_ones_need_the_backbone_to_be_named(tmp_path):
    checkpoint = open_checkpoint(small_uniad(tmp_path / "u.safetensors"))
    assert backbone_choice(checkpoint, "", "", None, "") == BackboneChoice("resnet18", "random")
    state = load_backbone(BackboneChoice("resnet18", "random")).model.state_dict()
    save_file({name: tensor + 1 for name, tensor in state.items()}, tmp_path / "resnet18.safetensors")
    other = load_backbone(backbone_choice(checkpoint, "", "", tmp_path, ""))
    with pytest.raises(CheckpointError, match="trained on features of resnet18 with random weights"):
        remarks_on(checkpoint, other, named=False)
    assert "the backbone's weights are not the checkpoint's" in remarks_on(checkpoint, other, named=True)[0]
    other = load_backbone(backbone_choice(checkpoint, "resnet34", "random", None, ""))
    assert remarks_on(checkpoint, other, named=True) == ("backbone is resnet34, not the checkpoint's (resnet18)",)


def test_the_scale_is_the_quantile_of_all_maps():
    generator = np.random.default_rng(0)
    all_maps = generator.gamma(2.0, size=(23, 30, 30)).astype(np.float32)
    scale = CommonScale(40)  # some images may turn out to be damaged
    for map_ in all_maps:
        scale.add(map_)
    ordered = np.sort(all_maps.ravel())
    assert scale.low == ordered[0]
    assert scale.high == ordered[-(len(ordered) // 1000 + 1)]
    assert scale.high == pytest.approx(np.quantile(all_maps, 0.999), rel=0.01)


def test_an_unfinished_archive_leaves_the_old_one(tmp_path):
    with map_archive(tmp_path / "maps.npz") as archive:
        archive.write("a.png", np.ones((2, 2), np.float32))
    with pytest.raises(RuntimeError, match="stop"), map_archive(tmp_path / "maps.npz") as archive:
        raise RuntimeError("stop")
    assert list(maps(tmp_path)) == ["a.png"]
    assert [file.name for file in tmp_path.iterdir()] == ["maps.npz"]


def test_overlays_are_brighter_where_the_score_is_higher():
    map_ = np.zeros((8, 8), np.float32)
    map_[:, 4:] = 5.0
    picture = np.asarray(overlay(Image.new("RGB", (32, 16), (100, 100, 100)), map_, 0.0, 5.0)).astype(int)
    assert picture.shape == (16, 32, 3)
    assert picture[:, 24:].sum() > 1.5 * picture[:, :8].sum()
    flat = np.asarray(overlay(Image.new("RGB", (4, 4), (100, 100, 100)), np.ones((2, 2), np.float32), 1.0, 1.0))
    assert (flat == flat[0, 0]).all()


def run_arguments(folder: Path, cache: Path, runs: Path, *more: object) -> list[str]:
    return [
        *("run", "--dataset", "folder", "--root", str(folder), "--results-dir", str(runs), "--cache-dir", str(cache)),
        *("--reference-dir", str(runs / "none"), "--site", str(runs.parent / "site"), "--threads", "1"),
        *("--jobs", "1", *(str(part) for part in more)),
    ]


def test_a_checkpoint_is_evaluated_under_the_protocol(folder, cache, tmp_path):
    runs, checkpoint = tmp_path / "runs", small_uniad(tmp_path / "mine.safetensors")
    result = invoke(*run_arguments(folder, cache, runs, "--checkpoint", checkpoint))
    assert result.exit_code == 0, result.output
    (record,) = Store(runs).records()
    assert record.status == "ok"
    assert (record.setting, record.categories, record.seed) == ("unified", ("bolt", "cloth"), 0)
    assert record.method.preset == "checkpoint"
    assert record.method.badges == ("checkpoint mine.safetensors, trained elsewhere",)
    assert (record.budget.steps, record.budget.presentations_per_image, record.budget.train_images) == (0, 0, 0)
    assert (record.loss_curve, record.learning_curve) == ((), ())
    assert set(record.results) == {"bolt", "cloth"}
    assert "trained elsewhere" in (tmp_path / "site" / "index.html").read_text()
    native = record.model_copy(update={"backbone": record.backbone.model_copy(update={"padding": "native"})})
    assert native.row_id != record.row_id
    named = [badges(row)[1].text for row in leaderboard([record, native]).rows]
    assert sorted(named) == ["resnet18, random weights", "resnet18, random weights, native padding"]
    again = invoke(*run_arguments(folder, cache, runs, "--checkpoint", checkpoint))
    assert "1 runs, 1 recorded already, 0 to do" in again.output
    torch.manual_seed(1)
    config = UniADConfig(image_size=64, width=32, heads=4, feedforward=32, neighbour_size=1)
    save_detector(checkpoint, UniAD(config, FeatureLayout(64, CHANNELS, GRIDS)), recorded())
    other = invoke(*run_arguments(folder, cache, runs, "--checkpoint", checkpoint, "--dry-run"))
    assert "1 runs, 0 recorded already, 1 to do" in other.output, "the id holds the file's sha256"


def test_a_class_aware_checkpoint_must_know_the_categories(folder, cache, options, tmp_path):
    def plan(file: Path, **more):
        methods = more.pop("methods", ())
        return make_plan(options(methods, checkpoint=file, preset="", backbone="", settings=("unified",), **more))

    both = plan(small_hvq(tmp_path / "h.safetensors", ("bolt", "cloth", "gear")))
    assert [run.config.routing for run in both] == ["given", "predicted"]
    assert both[0].layout.categories == ("bolt", "cloth", "gear")
    assert len({run.fit_id for run in both}) == 1
    (given,) = plan(small_hvq(tmp_path / "h.safetensors", router=False))
    assert given.config.routing == "given"
    with pytest.raises(UnknownNameError, match=r"category of h\.safetensors 'cloth'\. Did you mean clothes"):
        plan(small_hvq(tmp_path / "h.safetensors", ("bolt", "clothes")))
    assert plan(small_hvq(tmp_path / "h.safetensors", ("bolt", "clothes")), categories=("bolt",))
    with pytest.raises(Exception, match="has no router"):
        plan(
            small_hvq(tmp_path / "h.safetensors", router=False),
            methods=("hvq_trans",),
            assignments=("hvq_trans.routing=predicted",),
        )


def test_a_kept_fit_can_be_used_as_a_checkpoint(folder, tmp_path, cache):
    from tests.support.command_line import arguments

    kept, runs = tmp_path / "kept", tmp_path / "runs"
    trained = invoke(*arguments(folder, kept, runs, "--keep", "last", "--settings", "unified", methods="uniad"))
    assert trained.exit_code == 0
    (file,) = (kept / "states").glob("*.safetensors")
    invoke(*run_arguments(folder, cache, tmp_path / "again", "--checkpoint", file))
    (original,), (loaded,) = Store(runs).records(), Store(tmp_path / "again").records()
    assert loaded.results == original.results
    assert loaded.method.sizes == original.method.sizes


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seeds", "2"), "it has one seed"),
        (("--preset", "quick"), "PRESET does not go with CHECKPOINT"),
        (("--methods", "uniad,padim"), "holds one method"),
        (("--methods", "padim"), "holds a detector of 'uniad', not of 'padim'"),
    ],
)
def test_options_that_a_checkpoint_excludes_are_told(folder, cache, tmp_path, monkeypatch, capsys, more, message):
    file = small_uniad(tmp_path / "u.safetensors")
    arguments = run_arguments(folder, cache, tmp_path / "runs", "--checkpoint", file, *more)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USER_ERROR
    assert message in " ".join(capsys.readouterr().err.split())


def test_native_padding_is_part_of_the_ids_and_timms_is_not(options):
    def plan(**more):
        more = {"backbone": "tf_efficientnet_b0", "settings": ("unified",)} | more
        (run,) = make_plan(options(("padim",), **more))
        return run

    usual, named, native = plan(), plan(backbone_padding="timm"), plan(backbone_padding="native")
    assert usual.fit_id == named.fit_id
    assert usual.backbone_identity == named.backbone_identity
    assert "padding" not in usual.backbone_identity
    assert native.fit_id != usual.fit_id
    assert native.backbone_identity == usual.backbone_identity | {"padding": "native"}
    assert native.backbone_entry.padding == "native"


def test_help_names_the_options_of_score():
    output = CliRunner().invoke(app, ["score", "--help"], env={"COLUMNS": "200"}).output
    for option in ("--checkpoint", "--images", "--out", "--category", "--backbone-padding", "--weights-dir"):
        assert option in output
