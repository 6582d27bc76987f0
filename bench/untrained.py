"""What a detector scores before its training: the mark that the trained one has to beat.

A network with random weights detects more than nothing, and a training that is too short may detect less. Both stand
in the record, and a row whose training adds nothing is marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.evaluation import evaluate_category, score_category
from bench.seeding import seed_everything
from methods.detector import FitContext
from methods.features.feature_set import FeatureSet, TrainingView

if TYPE_CHECKING:
    from bench.plan import Run

UntrainedScores = dict[str, dict[str, float | None]]
"""I-AUROC and P-AUROC by category."""
COMPARED = ("I-AUROC", "P-AUROC")


def untrained_scores(run: Run, train: FeatureSet, device: torch.device) -> UntrainedScores:
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
    bank, found = run.open_bank(), {}
    for category in run.categories:
        test = bank.open(run.features, [category], "test", with_categories=run.told_category)
        result, _ = evaluate_category(
            score_category(detector, test, run.index, category, run.protocol), run.index, run.protocol
        )
        found[category] = {name: result.metrics.get(name) for name in COMPARED}
    return found
