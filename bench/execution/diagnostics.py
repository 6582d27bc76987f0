"""Learning curves: test metrics in the course of a training. A diagnostic: nothing is ever chosen by it.

What a detector scores before its training: the mark that the trained one has to beat.

A network with random weights detects more than nothing, and a training that is too short may detect less. Both stand
in the record, and a row whose training adds nothing is marked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from bench.execution.evaluation import evaluate_category, score_category
from bench.plan.runs import Run
from bench.plan.seeding import seed_everything
from methods.detector import Detector, FitContext, FitReport
from methods.features.feature_set import FeatureSet, TrainingView
from results.metrics.catalogue import AUROCS, HEADLINE
from results.records.record import LearningPoint

MetricsByCategory = dict[str, dict[str, float | None]]
"""Values of metrics by name, by category; None where a metric is blank."""


class LearningCurve:
    """An observer that scores the test images every few epochs and after the last step.

    It lives in bench: the detector that is trained never sees test images, and the loop restores random states.

    Args:
        runs: That share the fit; each is scored under its own test-time options.
        epochs: Distance between two points.
    """

    def __init__(self, runs: Sequence[Run], epochs: int) -> None:
        self.runs = runs
        self.epochs = epochs

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        """After every so many whole epochs, and at the end."""
        return step == total or step % (self.epochs * per_epoch) == 0

    def __call__(self, step: int, detector: Detector) -> dict[str, Any]:
        """Metrics by run and category, and the seconds that they took."""
        begun = time.perf_counter()
        before = detector.config
        try:
            found = {run.score_id: test_metrics(run, detector, HEADLINE) for run in self.runs}
        finally:
            detector.config = before
        return {"step": step, "runs": found, "seconds": time.perf_counter() - begun}


def test_metrics(run: Run, detector: Detector, names: Sequence[str]) -> MetricsByCategory:
    """Score the detector on the run's test images.

    Args:
        run: Its protocol and test-time options count; ``detector.config`` is set to the run's.
        detector: A detector as the run fits it, in any state of its training.
        names: Metrics.
    """
    detector.config = run.config  # differs in test-time options only
    bank, found = run.open_bank(), {}
    for category in run.categories:
        test = bank.open(run.features, [category], "test", with_categories=run.told_category)
        scores = score_category(detector, test, run.index, category, run.protocol)
        result, _ = evaluate_category(scores, run.index, run.protocol)
        found[category] = {name: result.metrics.get(name) for name in names}
    return found


def learning_points(report: FitReport, score_id: str) -> tuple[LearningPoint, ...]:
    """One run's points of what was observed during its fit, each with the mean loss since the one before."""
    points: list[LearningPoint] = []
    before = 0
    for noted in report.observations:
        step = int(noted["step"])
        losses = [loss for at, loss in report.loss_curve if before < at <= step]
        if score_id in noted["runs"] and losses:
            points.append(
                LearningPoint(
                    step=step,
                    epoch=round(step * report.presentations_per_image / report.steps, 6),
                    loss=float(f"{sum(losses) / len(losses):.6g}"),
                    results=noted["runs"][score_id],
                )
            )
        before = step
    return tuple(points)


def untrained_scores(run: Run, train: FeatureSet, device: torch.device) -> MetricsByCategory:
    """Score the run's detector with its initial weights, as its training will find them.

    Statistics that the fit computes besides (a Gaussian over embeddings, say) are computed from those weights.

    Args:
        run: The run; seeds are set as for its training, so seed again before that.
        train: Its training images.
        device: Where to compute.

    Returns:
        Nothing for detectors that train nothing by gradient.
    """
    seed_everything(run.run_seed)
    detector = run.detector_class(run.config, run.layout)
    if not detector.trainable_parameters():
        return {}
    detector.fit(TrainingView(train), FitContext(run.run_seed, device, textures=run.textures, untrained=True))
    return test_metrics(run, detector, AUROCS)
