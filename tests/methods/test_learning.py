"""Quick UniAD learns; a stub, a frozen network or a shuffled target would fail this test."""

from __future__ import annotations

import pytest
import torch

from bench.execution.evaluation import evaluate_category, score_category
from bench.plan.options import Options
from bench.plan.plan import make_plan
from bench.plan.seeding import seed_everything
from methods.backbones.backbone import load_backbone
from methods.detector import FitContext
from methods.features.batch import layout_of


@pytest.mark.slow
def test_a_trained_quick_uniad_is_better_than_an_untrained_one(tmp_path, synthetic_data):
    """Standardised ImageNet features of two categories of the synthetic dataset; a quarter of the preset's steps."""
    options = Options(
        methods=("uniad",), settings=("unified",), seeds=(0,), categories=("oak", "twill"),
        data_dir=synthetic_data, cache_dir=tmp_path / "cache", unchecked_counts=True, assignments=("uniad.steps=100",),
    )  # fmt: skip
    (run,) = make_plan(options)
    bank = run.open_bank()
    seed_everything(run.run_seed)
    detector = run.detector_class(run.config, layout_of(run.features, load_backbone(run.backbone)))

    def image_auroc() -> dict[str, float]:
        found = {}
        for category in run.categories:
            test = bank.open(run.features, [category], "test")
            scores = score_category(detector, test, run.index, category, run.protocol)
            found[category] = evaluate_category(scores, run.index, run.protocol)[0].metrics["I-AUROC"]
        return found

    untrained = image_auroc()
    report = detector.fit(
        bank.open(run.features, run.categories, "train"), FitContext(run.run_seed, torch.device("cpu"))
    )
    trained = image_auroc()
    assert report.steps == 100
    assert report.loss_curve[-1][1] < 0.5 * report.loss_curve[0][1]
    gain = {category: trained[category] - untrained[category] for category in run.categories}
    # The untrained score of one category depends on the random initial weights, so the mean is tested too.
    assert gain["twill"] > 0.1, (untrained, trained)
    assert sum(gain.values()) / 2 > 0.1, (untrained, trained)
