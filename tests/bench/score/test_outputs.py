"""Archives of maps, and overlays on a common scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.score.outputs import CommonScale, map_archive, overlay


def maps(out: Path) -> dict[str, np.ndarray]:
    with np.load(out / "maps.npz") as archive:
        return dict(archive)


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
