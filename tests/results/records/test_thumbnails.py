"""Pictures of the test images in a store: written, read, damaged and merged."""

from __future__ import annotations

import numpy as np

from results.records.merge import merge
from results.records.store import Store
from results.records.thumbnails import Pictures, read_pictures, write_pictures
from tests.support.records import make_record, make_scores


def pictures(paths, fingerprint="print"):
    masks = np.zeros((len(paths), 128, 128), dtype=bool)
    masks[1::2, 10:20, 30:50] = True
    images = tuple(bytes([255, 216, k, 7]) * (k + 1) for k in range(len(paths)))
    defects = tuple("good" if k % 2 == 0 else "crack" for k in range(len(paths)))
    return Pictures(fingerprint, tuple(paths), defects, images, masks)


def test_pictures_come_back_as_they_were_and_damaged_ones_are_absent(tmp_path):
    store = Store(tmp_path)
    kept = pictures([f"a b/test/{k}.png" for k in range(5)])
    write_pictures(store, "my set", "a b", kept)
    found = read_pictures(Store(tmp_path / "other", (tmp_path,)), "my set", "a b")
    assert (found.fingerprint, found.paths, found.defects, found.images) == (
        kept.fingerprint,
        kept.paths,
        kept.defects,
        kept.images,
    )
    assert np.array_equal(found.masks, kept.masks)
    assert read_pictures(store, "my set", "other") is None
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:300])
    assert read_pictures(store, "my set", "a b") is None


def test_merge_brings_the_pictures_that_are_missing(tmp_path):
    theirs, mine = Store(tmp_path / "theirs"), Store(tmp_path / "mine")
    record = make_record()
    theirs.write(record, make_scores(record))
    write_pictures(theirs, "toy", "bolt", pictures(["x"], "new"))
    write_pictures(theirs, "toy", "cloth", pictures(["x"], "new"))
    write_pictures(mine, "toy", "bolt", pictures(["x"], "own"))
    merge(theirs.root, mine)
    assert read_pictures(mine, "toy", "bolt", "own").fingerprint == "own"
    assert read_pictures(mine, "toy", "bolt", "new").fingerprint == "new"  # of other data
    assert read_pictures(mine, "toy", "cloth").fingerprint == "new"


def test_datasets_with_the_same_names_have_pictures_of_their_own(tmp_path):
    store = Store(tmp_path)
    for data in ("one", "two"):
        write_pictures(store, "toy", "bolt", pictures([f"bolt/{data}.png"], data))
    assert [read_pictures(store, "toy", "bolt", data).paths for data in ("one", "two")] == [
        ("bolt/one.png",),
        ("bolt/two.png",),
    ]
    assert read_pictures(store, "toy", "bolt", "three") is None
    (tmp_path / "toy/pictures/bolt-one.npz").rename(tmp_path / "toy/pictures/bolt.npz")  # as earlier versions named it
    assert read_pictures(store, "toy", "bolt", "one").paths == ("bolt/one.png",)
    assert read_pictures(store, "toy", "bolt", "three") is None
