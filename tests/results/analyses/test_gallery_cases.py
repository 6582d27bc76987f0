"""Which images a gallery shows, and the pictures and maps that it is drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.analyses.gallery_cases import Witness, best_threshold, choose, witnesses
from results.leaderboard import leaderboard
from results.records.store import Store
from tests.support.records import make_row, make_scores


def witness(scores, labels, maps=None, threshold=None):
    scores, labels = np.array(scores, dtype=np.float32), np.array(labels, dtype=bool)
    if maps is None:
        maps = np.zeros((len(scores), 64, 64), dtype=np.float16)
    found = best_threshold(scores, labels) if threshold is None else threshold
    return Witness(None, "unified", tuple(map(str, range(len(scores)))), labels, scores, maps, (), found)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25))
def test_threshold_has_the_largest_f1_of_all_and_is_the_highest_of_those(pairs):
    scores, labels = np.array([p[0] for p in pairs], dtype=np.float32), np.array([p[1] for p in pairs])

    def f1(threshold):
        called = scores >= threshold
        return 2 * (called & labels).sum() / max(called.sum() + labels.sum(), 1)

    found = best_threshold(scores, labels)
    assert found in scores
    if labels.any():
        assert f1(found) == max(f1(t) for t in scores)
        assert all(f1(t) < f1(found) for t in scores if t > found)


def test_rarity_is_the_share_of_normal_pixels_that_are_at_least_as_high():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 9, (5, 64, 64)).astype(np.float16)
    one = witness([1, 2, 3, 4, 5], [0, 0, 0, 1, 1], maps)
    rarity = one.rarity(4)
    normal = maps[:3].ravel()
    for y, x in [(0, 0), (13, 60), (63, 63)]:
        assert rarity[y, x] == pytest.approx((normal >= maps[4, y, x]).mean())


def test_cases_follow_their_rules():
    labels = [0, 0, 0, 1, 1, 1, 1]
    first = witness([1, 2, 9, 3, 8, 5, 6], labels, threshold=3)  # the normal image 2 raises a false alarm
    second = witness([1, 3, 8, 2, 9, 5, 6], labels, threshold=4)  # and here the defect of image 3 is missed as well
    cases = {case.kind: case for case in choose([first, second])}
    assert cases["good"].image == 1
    assert cases["easy"].image == 4
    assert cases["hard"].image == 3  # found by one of two
    assert (cases["hard"].right, cases["hard"].of) == (1, 2)
    assert cases["failed"].image == 2
    assert cases["failed"].right == 0


def test_among_equally_wrong_images_a_missed_defect_comes_first():
    cases = choose([witness([1, 9, 8, 0, 7], [0, 0, 1, 1, 1], threshold=5)])
    assert {case.kind: case.image for case in cases}["failed"] == 3


def test_no_image_is_shown_for_two_kinds_and_perfect_detectors_leave_no_failed_case():
    perfect = witness([1, 2, 3, 7, 8, 9], [0, 0, 0, 1, 1, 1])
    cases = choose([perfect, perfect])
    assert [case.kind for case in cases] == ["good", "easy", "hard"]
    assert len({case.image for case in cases}) == 3
    assert [c.kind for c in choose([witness([1.0], [1])])] == ["easy"]


def test_witnesses_are_the_finished_runs_of_seed_0_whose_maps_are_kept(tmp_path):
    store = Store(tmp_path)
    for record in make_row(seeds=(0, 1)):
        scores = make_scores(record)
        maps = np.full((len(scores.own), 64, 64), record.seed, dtype=np.float16)
        looks = [b"look"] * len(scores.own) if record.setting == "unified" else []
        store.write(record, scores, maps if record.categories != ("bolt",) else None, looks)
    (row,) = leaderboard(store.records()).rows
    assert [(w.setting, w.maps.max(), len(w.looks)) for w in witnesses(store, [row], "pipe")] == [
        ("unified", 0, 20),
        ("separate", 0, 0),
    ]
    assert [w.setting for w in witnesses(store, [row], "bolt")] == ["unified"]
    assert witnesses(Store(tmp_path / "none"), [], "bolt") == []
