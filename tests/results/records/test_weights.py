"""Kinds of backbone weights: each has its facts, and a new kind needs nothing else."""

from typing import get_args

import pytest

from reports.parts.metric_tables import badges
from reports.text.learning_story import background, observations
from reports.text.sentences import mixing
from results.analyses.learning_curves import learning_curves
from results.leaderboard import leaderboard
from results.records import weights
from tests.support.learning_curves import record


def test_every_kind_has_its_facts():
    assert set(weights.WEIGHTS) == set(get_args(weights.WeightsKind))


@pytest.mark.parametrize(
    ("trained_on", "badge", "kind", "text"),
    [
        ("photographs", "resnet18", "plain", ""),
        ("nothing", "resnet18, random weights", "warn", "is untrained"),
    ],
)
def test_a_new_kind_is_described_by_what_it_was_trained_on(monkeypatch, trained_on, badge, kind, text):
    facts = {**weights.WEIGHTS, "packaged": weights.WeightsFacts(trained_on)}
    monkeypatch.setattr("results.records.record.WEIGHTS", facts)
    falling = record("uniad", ((0.8, 0.5, 0.3), (0.7, 0.9, 0.8)))
    new = falling.backbone.model_copy(update={"name": "resnet18", "weights": "packaged"})
    (row,) = leaderboard([falling.model_copy(update={"backbone": new})]).rows
    curve = learning_curves(row, "unified")
    assert (badge, kind) in [(one.text, one.kind) for one in badges(row)]
    assert bool(text) == bool(mixing([row])[0].startswith("Rows here use"))
    assert (text in " ".join(background([curve]))) if text else len(background([curve])) == 1
    (line,) = observations([curve], {row.row_id: "UniAD"})
    assert line.verdict.startswith("Differs from the published curves" if text else "Contradicts the paper")
