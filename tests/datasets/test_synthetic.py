"""The synthetic dataset: determinism, exact masks, sizes of defects, confusions, safe writing."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import synthetic
from datasets.errors import DatasetError, UnknownNameError
from datasets.index.registry import find_dataset
from datasets.samples.images import load_mask
from datasets.samples.sample import GOOD
from datasets.synthetic import MANIFEST, Recipe, build, generate, stored_recipe
from datasets.synthetic_parts.catalogue import LOOKS
from datasets.synthetic_parts.sample_image import sample_image

SMALL = {"train": 2, "good": 1, "per_defect": 1, "categories": ("flange", "linen")}


def _bytes(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "synthetic", seed=5, **SMALL)


def test_the_standard_set_has_the_promised_size() -> None:
    info = find_dataset("synthetic")
    assert info.synthesised
    assert info.counts == Recipe().counts()
    assert len(info.counts) >= 6
    assert any(look.is_texture for look in LOOKS.values())
    assert not all(look.is_texture for look in LOOKS.values())
    for category, (train, good, anomalous) in info.counts.items():
        assert train >= 40
        assert good + anomalous >= 30
        assert len(LOOKS[category].defects) >= 4


def test_same_seed_same_bytes_and_another_seed_another_set(small: Path, tmp_path: Path) -> None:
    first = _bytes(small)
    assert _bytes(generate(tmp_path / "again", seed=5, **SMALL)) == first
    other = _bytes(generate(tmp_path / "other", seed=6, **SMALL))
    assert other.keys() == first.keys()
    assert not [name for name in first if name.endswith(".png") and other[name] == first[name]]


def test_an_image_does_not_depend_on_what_else_is_generated(small: Path, tmp_path: Path) -> None:
    larger = generate(tmp_path / "larger", seed=5, train=3, good=2, per_defect=2, categories=["linen"])
    ours, theirs = _bytes(small), _bytes(larger)
    shared = [name for name in ours if name in theirs and name != MANIFEST]
    assert len(shared) == 2 + 1 + 2 * len(LOOKS["linen"].defects)
    assert all(ours[name] == theirs[name] for name in shared)


def test_training_and_test_images_all_differ(small: Path) -> None:
    images = [data for name, data in _bytes(small).items() if name.endswith(".png")]
    assert len(set(images)) == len(images)


def test_the_folder_loader_reads_it(small: Path) -> None:
    index = build(small)
    assert index.categories == ("flange", "linen")
    assert index.has_masks
    assert "linen" in index.textures
    assert "flange" not in index.textures
    counts = stored_recipe(small).counts()
    for category in index.categories:
        test = index.split("test", category)
        anomalous = [s for s in test if s.is_anomalous]
        assert (len(index.split("train", category)), len(test) - len(anomalous), len(anomalous)) == counts[category]
        assert {s.defect for s in test} == {GOOD, *LOOKS[category].defects}
    for sample in index.split("test"):
        if sample.is_anomalous:
            kind, number = sample.defect, int(Path(sample.path).stem)
            shot = sample_image(LOOKS[sample.category], 5, "test", kind, number)
            assert np.array_equal(load_mask(small, sample), shot.mask)
            assert np.array_equal(np.asarray(Image.open(small / sample.path)), shot.image)


def test_a_current_set_is_kept_and_an_old_or_broken_one_is_generated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "synthetic"
    few = {"train": 1, "good": 1, "per_defect": 1, "categories": ("oak",)}
    generate(root, seed=1, **few)
    image = root / "oak/train/good/000.png"
    before = image.stat().st_mtime_ns
    build(root)
    assert image.stat().st_mtime_ns == before

    good = image.read_bytes()
    image.unlink()
    assert len(build(root).split("train")) == 1
    assert image.read_bytes() == good

    generate(root, seed=2, **few)
    assert stored_recipe(root).seed == 2
    assert image.read_bytes() != good

    manifest = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps({**manifest, "version": manifest["version"] - 1}))
    monkeypatch.setattr(synthetic, "generate", lambda at: generate(at, seed=3, **few))  # a small standard set
    build(root)
    assert stored_recipe(root).version == synthetic.VERSION
    assert stored_recipe(root).seed == 3
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == ["synthetic"]


def test_it_never_overwrites_other_files(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    root.mkdir()
    (root / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="other files"):
        generate(root, **SMALL)
    (root / MANIFEST).write_text('{"generator": "somebody else"}')
    with pytest.raises(DatasetError, match="other files"):
        build(root)
    assert (root / "thesis.txt").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic, "_write_sample", full)
    with pytest.raises(DatasetError, match="No space left"):
        generate(tmp_path / "synthetic", **SMALL)
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_several_threads_at_once_generate_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    replace = synthetic._replace
    monkeypatch.setattr(synthetic, "_replace", lambda root, recipe: (made.append(root), replace(root, recipe)))
    few = {"train": 1, "good": 1, "per_defect": 1, "categories": ("oak",)}
    threads = [threading.Thread(target=generate, args=(tmp_path / "synthetic",), kwargs=few) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(build(tmp_path / "synthetic").split("train")) == 1


def test_an_unknown_category_is_named_with_a_similar_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean flange"):
        generate(tmp_path / "synthetic", categories=["flang"])
