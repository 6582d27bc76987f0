"""Test metrics before and during a training: the score of the untrained detector, and learning curves.

Both are diagnostics; nothing is ever chosen by them. A network with random weights already detects some defects, and
after a training that is too short it may detect fewer. The record has the metrics before and after the training, and a
row whose training adds nothing is marked.
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
    """An observer of a training that scores the test images every few epochs and after the last step.

    The observer holds the test images, so the detector that is trained never sees them. The training loop restores the
    random states after each call.

    Args:
        runs: The runs that share the fit; each is scored under its own test-time options.
        epochs: Number of epochs between two points.
    """

    def __init__(self, runs: Sequence[Run], epochs: int) -> None:
        self.runs = runs
        self.epochs = epochs

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        """Whether to score after this step: after every ``epochs`` whole epochs, and at the end."""
        return step == total or step % (self.epochs * per_epoch) == 0

    def __call__(self, step: int, detector: Detector) -> dict[str, Any]:
        """Metrics by run and category, and the seconds that computing them took."""
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
        run: The run. Its test images, protocol and test-time options are used; ``detector.config`` is set to its own.
        detector: The run's detector, in any state of its training.
        names: Names of the metrics.
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
    """The learning curve of one run from the observations of its fit, with the mean loss between two points."""
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
    """Score the run's detector with the initial weights that its training starts from.

    Statistics that the fit computes in addition (such as a Gaussian over embeddings) are computed from these weights.

    Args:
        run: The run. The random generators are seeded as for its training; seed them again before the training.
        train: Features of the training images.
        device: Where to compute.

    Returns:
        Metrics by category; empty for detectors that train nothing by gradient.
    """
    seed_everything(run.run_seed)
    detector = run.detector_class(run.config, run.layout)
    if not detector.trainable_parameters():
        return {}
    detector.fit(TrainingView(train), FitContext(run.run_seed, device, textures=run.textures, untrained=True))
    return test_metrics(run, detector, AUROCS)
