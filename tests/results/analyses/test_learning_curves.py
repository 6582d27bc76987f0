"""Learning curves of a row: which averages are taken, and which are refused."""

from __future__ import annotations

import statistics

import pytest

from results.analyses.learning_curves import learning_curves
from tests.support.records import CATEGORIES, make_learning_curve, make_record, one_row

LOSSES = (0.8, 0.2, 0.1, 0.05)


def curve_of(*records, setting="unified"):
    return learning_curves(one_row(records), setting)


def run(seed, image, **more):
    every = more.pop("every", 10)
    losses = LOSSES[: len(image)]
    return make_record(seed=seed, learning_curve=make_learning_curve(losses, image, every=every, spread=0.03), **more)


def test_categories_are_averaged_at_each_step_and_peak_and_fall_are_read_off():
    curve = curve_of(run(0, (0.6, 0.9, 0.85, 0.8)))
    assert curve.seeds == (0,)
    series = curve.metrics["I-AUROC"]
    assert series.steps == (10, 20, 30, 40)
    assert series.means == pytest.approx((0.6, 0.9, 0.85, 0.8))  # the spread over categories cancels
    assert series.steps[series.peak_at] == 20
    assert series.peak.mean == pytest.approx(0.9)
    assert series.last.mean == pytest.approx(0.8)
    assert series.fall.mean == pytest.approx(0.1)
    assert series.fall.std is None
    assert curve.loss.means == LOSSES
    assert curve.presentations == 4.0


def test_seeds_are_averaged_and_the_fall_is_paired_by_seed():
    curve = curve_of(run(0, (0.6, 0.90, 0.85, 0.80)), run(1, (0.7, 0.80, 0.79, 0.78)))
    series = curve.metrics["I-AUROC"]
    assert series.means == pytest.approx((0.65, 0.85, 0.82, 0.79))
    assert series.peak.std == pytest.approx(statistics.stdev((0.9, 0.8)))
    assert series.fall.mean == pytest.approx(0.06)
    assert series.fall.std == pytest.approx(statistics.stdev((0.10, 0.02)))
    assert series.fall.n == 2


def test_the_first_of_equal_peaks_counts_and_a_rising_curve_does_not_fall():
    assert curve_of(run(0, (0.7, 0.9, 0.9))).metrics["I-AUROC"].peak_at == 1
    rising = curve_of(run(0, (0.7, 0.8, 0.9))).metrics["I-AUROC"]
    assert rising.peak_at == 2
    assert rising.fall.mean == 0.0


def test_a_row_without_curves_has_none():
    assert curve_of(make_record()) is None
    assert curve_of(run(0, (0.5, 0.6)), setting="separate") is None


def test_seeds_without_a_curve_are_counted_and_never_averaged():
    curve = curve_of(run(0, (0.6, 0.9)), make_record(seed=1, value=0.1), make_record(seed=2, failed=True))
    assert (curve.seeds, curve.ran) == ((0,), 3)
    assert curve.metrics["I-AUROC"].last.mean == pytest.approx(0.9)


def test_seeds_with_points_at_different_steps_are_blank_with_the_reason():
    curve = curve_of(run(0, (0.6, 0.9)), run(1, (0.6, 0.9), every=20))
    assert curve.seeds == (0, 1)
    for series in (curve.loss, *curve.metrics.values()):
        assert series.cells == ()
        assert series.last.mean is None
        assert "seeds 0, 1 have points at different steps" in series.fall.reason


def test_a_metric_that_is_missing_once_is_blank_and_the_others_stay():
    points = make_learning_curve(LOSSES, (0.6, 0.7, 0.8, 0.9), (0.6, None, 0.8, 0.9))
    masks = {"metrics": {"P-AUROC": None}, "reasons": {"P-AUROC": "no masks"}}
    curve = curve_of(make_record(learning_curve=points, **masks))
    assert curve.metrics["P-AUROC"].cells == ()
    assert curve.metrics["P-AUROC"].reason == "bolt: no masks"
    assert curve.metrics["I-AUROC"].last.mean == pytest.approx(0.9)


def separate(category, image, every=10):
    points = make_learning_curve(LOSSES[: len(image)], image, categories=(category,), every=every)
    return make_record(setting="separate", category=category, learning_curve=points)


def test_separate_detectors_are_averaged_if_their_points_are_at_the_same_steps():
    records = [separate(category, (0.5 + 0.1 * k, 0.8)) for k, category in enumerate(CATEGORIES)]
    series = curve_of(*records, setting="separate").metrics["I-AUROC"]
    assert series.means == pytest.approx((0.6, 0.8))
    other = [*records[:-1], separate(CATEGORIES[-1], (0.7, 0.8), every=5)]
    assert "different steps" in curve_of(*other, setting="separate").loss.reason


def test_a_missing_separate_detector_blanks_the_seed():
    curve = curve_of(*[separate(category, (0.5, 0.8)) for category in CATEGORIES[:-1]], setting="separate")
    assert curve.seeds == ()
    assert curve.loss.reason == f"seed 0: {CATEGORIES[-1]} not run"
