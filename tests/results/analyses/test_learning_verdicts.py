"""What counts as a fall, as near zero, and as agreeing with the published learning curves."""

import pytest

from results.analyses.learning_curves import learning_curves
from results.analyses.learning_verdicts import Claim, course, fell, judge, published_kind
from results.leaderboard import leaderboard
from tests.support.learning_curves import PUBLISHED, record


def curves_of(*records):
    found = [learning_curves(row, "unified") for row in leaderboard(records).rows]
    return {curve.row.method.name: curve for curve in found}


def verdicts(*records):
    """The claims about each curve by method, judged together with the others."""
    curves = curves_of(*records)
    return {name: judge(curve, list(curves.values())) for name, curve in curves.items()}


def metric(*values, method="uniad"):
    (curve,) = curves_of(record(method, ((0.8, 0.5, 0.3)[: len(values)], values))).values()
    return curve.metrics["I-AUROC"]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (0.91, "highest at the end"),
        (0.9, "as high as its peak"),
        (0.8996, "as high as its peak"),
        (0.8906, "below its peak"),
        (0.8904, "falls"),
        (0.89, "falls"),
    ],
)
def test_a_fall_counts_from_one_point_on_as_it_is_printed(last, expected):
    series = metric(0.8, 0.9, last)
    assert course(series) == expected
    assert fell(series) == (expected == "falls")


def test_curves_that_go_as_published_agree_with_every_claim():
    found = verdicts(*[record(method, curve) for method, curve in PUBLISHED.items()])
    plain = [("I-AUROC", "falls"), ("P-AUROC", "falls"), ("loss", "gets near 0")]
    less = [("I-AUROC", "falls less"), ("P-AUROC", "falls less"), ("loss", "stays higher")]
    claims = {name: [(claim.subject, claim.statement) for claim in claims] for name, claims in found.items()}
    assert claims == {
        "shortcut_mlp": plain,
        "shortcut_cnn": plain,
        "shortcut_transformer": less,
        "uniad": [("I-AUROC", "does not fall"), ("P-AUROC", "does not fall")],
    }
    assert all(claim.agrees for claims in found.values() for claim in claims)


def test_a_metric_that_is_highest_at_the_end_does_not_decide_whether_it_falls():
    (claims,) = verdicts(record("shortcut_mlp", ((0.8, 0.1, 0.01), (0.7, 0.8, 0.9)))).values()
    assert [(claim.statement, claim.agrees) for claim in claims] == [("falls", None)] * 2
    (claims,) = verdicts(record("shortcut_mlp", ((0.8, 0.1, 0.01), (0.7, 0.9, 0.895)))).values()
    assert [(claim.statement, claim.agrees) for claim in claims] == [("falls", False)] * 2


@pytest.mark.parametrize(("loss", "agrees"), [(0.1, True), (0.1001, False)])
def test_a_loss_is_near_zero_at_half_of_the_transformers(loss, agrees):
    cnn = record("shortcut_cnn", ((0.8, 0.3, loss), (0.8, 0.9, 0.7)))
    found = verdicts(cnn, record("shortcut_transformer", PUBLISHED["shortcut_transformer"]))
    assert found["shortcut_cnn"][-1] == Claim("loss", "gets near 0", agrees)


def test_only_rows_that_were_trained_alike_are_compared():
    cnn = record("shortcut_cnn", PUBLISHED["shortcut_cnn"])
    for change in ({"fit_config": {"image_size": 64}}, {"weights": "random"}, {"preset": "paper"}):
        other = record("shortcut_transformer", PUBLISHED["shortcut_transformer"], **change)
        assert verdicts(cnn, other)["shortcut_transformer"] == ()


def test_the_transformer_falls_less_than_the_plain_networks_that_fall():
    mlp, cnn = (record(name, PUBLISHED[name]) for name in ("shortcut_mlp", "shortcut_cnn"))
    worse = record("shortcut_transformer", ((0.8, 0.4, 0.2), (0.8, 0.9, 0.75)))  # falls by 15 points
    first = verdicts(mlp, cnn, worse)["shortcut_transformer"][0]
    assert first == Claim("I-AUROC", "falls less", agrees=False, peers=("CNN",))
    first = verdicts(mlp, worse)["shortcut_transformer"][0]
    assert first == Claim("I-AUROC", "falls less", agrees=True, peers=("MLP",))
    assert verdicts(worse)["shortcut_transformer"] == ()
    level = record("shortcut_cnn", ((0.8, 0.1, 0.01), (0.8, 0.9, 0.9)))
    flat = record("shortcut_transformer", ((0.8, 0.4, 0.2), (0.8, 0.9, 0.9)))
    for transformer, agrees in ((worse, False), (flat, None)):
        first = verdicts(level, transformer)["shortcut_transformer"][0]
        assert first == Claim("I-AUROC", "falls less", agrees, ("CNN",), peers_fall=False)


@pytest.mark.parametrize(
    "change", [{"query": "none"}, {"query": "first"}, {"mask_encoder": False}, {"jitter_scale": 0.0}]
)
def test_uniad_without_a_remedy_is_not_judged(change):
    (curve,) = curves_of(record("uniad", PUBLISHED["shortcut_mlp"], fit_config=change)).values()
    assert published_kind(curve.row) == ""
    assert judge(curve, [curve]) == ()


def test_short_trainings_and_single_points_are_not_judged():
    assert verdicts(record("uniad", PUBLISHED["uniad"], epochs_per_point=33)) == {"uniad": ()}
    assert verdicts(record("uniad", ((0.8,), (0.7,)))) == {"uniad": ()}
    assert verdicts(record("uniad", PUBLISHED["uniad"], epochs_per_point=34))["uniad"]
