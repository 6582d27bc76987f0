"""What the learning curves show, in sentences, and whether it agrees with the published story."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.text.learning_order import CNN, MLP, TRANSFORMER, UNIAD, published_kind
from reports.text.sentences import listed, times
from results.analyses.learning_curves import LearningCurves, Series
from results.metrics.catalogue import AUROCS
from results.rows.cell import number

FALL = 0.01
"""A fall counts from one point on."""
NEAR_ZERO = 0.5
"""A loss is near 0 from this share of the plain transformer's down: they reconstruct the same features. (Where a
loss begins is no measure: it depends on how the network is initialised.)"""
LONG = 100
"""Presentations of each image from which a curve speaks about the paper, which shows each 1,000 times."""
_OTHER_FEATURES = {"random": "is untrained", "shipped": "has seen no photographs"}
"""What is said of features that are not of the papers' kind."""
_STORY = {
    MLP: "the loss of the MLP gets near 0 while both AUROCs fall after an early peak",
    CNN: "the loss of the CNN gets near 0 while both AUROCs fall after an early peak",
    TRANSFORMER: "the plain transformer's loss stays higher and its AUROCs fall less",
    UNIAD: "UniAD's AUROCs do not fall",
}


@dataclass(frozen=True)
class _Claim:
    """A published claim held against a curve.

    Attributes:
        subject: What it is about: a metric, or the loss.
        one: What is said of the subject unless the claim holds.
        several: The same of several subjects.
        agrees: Whether the claim holds; None where the curve can't tell.
    """

    subject: str
    one: str
    several: str
    agrees: bool | None


@dataclass(frozen=True)
class Told:
    """What is said of one row: its name, what was seen, and how that compares with what was published, if anything."""

    name: str
    seen: str
    verdict: str


def background(curves: Sequence[LearningCurves]) -> list[str]:
    """The published story of the networks that are there, thresholds, and what must be known before comparing.

    Args:
        curves: Unified ones, of rows of one table.

    Returns:
        Sentences; none where nothing is published about any of the networks.
    """
    curves = [curve for curve in curves if curve.loss.cells]
    kinds = [kind for kind in _STORY if any(published_kind(curve.row) == kind for curve in curves)]
    if not kinds:
        return []
    story = [_STORY[kind] for kind in kinds]
    if kinds[:2] == [MLP, CNN]:
        story[:2] = ["the losses of MLP and CNN get near 0 while their AUROCs fall after an early peak"]
    near = ""
    if TRANSFORMER in kinds and kinds[0] in (MLP, CNN):
        near = f", and a loss is near 0 at {100 * NEAR_ZERO:g} % of the transformer's or less"
    shown = sorted(curve.presentations for curve in curves)
    said = [
        f"Published (UniAD, NeurIPS 2022; MVTec AD): {'; '.join(story)}. Here a fall counts from "
        f"{number(FALL)} point on{near}. Each image was shown {times(shown[0], shown[-1])} in these trainings, "
        "1,000× in UniAD's published schedule."
    ]
    if shown[0] < LONG:
        said.append(
            f"Trainings of fewer than {LONG} presentations are too short to speak for or against the paper: "
            "of them it is only said what was seen."
        )
    for weights, what in _OTHER_FEATURES.items():
        such = [curve for curve in curves if curve.row.backbone.weights == weights]
        if such:
            which = "The backbone" if len(such) == len(curves) else "Of some rows the backbone"
            said.append(f"{which} {what}: such curves test the harness, not the paper's claim.")
    return said


def told(curves: Sequence[LearningCurves], names: Mapping[str, str]) -> list[Told]:
    """What each curve shows, in the order of the curves; blank ones are left out.

    Args:
        curves: Unified ones, of rows of one table.
        names: Labels by row id.
    """
    shown = [curve for curve in curves if curve.loss.cells]
    return [Told(names[curve.row.row_id], _seen(curve), _verdict(curve, shown)) for curve in shown]


def _seen(curve: LearningCurves) -> str:
    """E.g. ``the loss fell from 0.3 to 0.02; I-AUROC fell by 6.1 points after its peak at step 130.``."""
    if len(curve.loss.steps) < 2:
        return "one point only, which makes no curve."
    first, last = curve.loss.means[0], curve.loss.means[-1]
    parts = [f"the loss {'fell' if last < first else 'rose'} from {first:.2g} to {last:.2g}"]
    parts += [_change(metric, curve.metrics[metric]) for metric in AUROCS if _known(curve, metric)]
    return f"{'; '.join(parts)}."


def loss_share(loss: Series) -> float | None:
    """Last loss as a share of the first; None where there is no such share."""
    if len(loss.means) < 2 or loss.means[0] <= 0:
        return None
    return loss.means[-1] / loss.means[0]


def percent(share: float) -> str:
    """``31 %``, with a decimal below ten."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def _change(metric: str, series: Series) -> str:
    fall = series.fall
    spread = "" if fall.std is None else f" ± {100 * fall.std:.1f}"
    step = f"{series.steps[series.peak_at]:,}"
    if series.peak_at == len(series.steps) - 1:
        return f"{metric} was highest at the last step"
    if _fell(series):
        return f"{metric} fell by {number(fall.mean or 0.0)}{spread} points after its peak at step {step}"
    if number(fall.mean or 0.0) == "0.0":
        return f"{metric} ended as high as its peak at step {step}"
    return f"{metric} ended {number(fall.mean or 0.0)}{spread} points below its peak at step {step}"


def _verdict(curve: LearningCurves, others: Sequence[LearningCurves]) -> str:
    """``As published.``, or what contradicts, or what can't be told; nothing of short trainings and the unpublished."""
    if len(curve.loss.steps) < 2 or curve.presentations < LONG:
        return ""
    kind = published_kind(curve.row)
    peers = [other for other in others if _alike(curve, other)]
    claims: list[_Claim] = []
    if kind in (MLP, CNN):
        claims = _of_plain(curve, peers)
    elif kind == TRANSFORMER:
        claims = _of_transformer(curve, peers)
    elif kind == UNIAD:
        claims = [
            _Claim(metric, "falls", "fall", not _fell(curve.metrics[metric]))
            for metric in AUROCS
            if _known(curve, metric)
        ]
    against = _grouped([claim for claim in claims if claim.agrees is False])
    unsure = _grouped([claim for claim in claims if claim.agrees is None])
    said = []
    if against:  # on features of another kind than the paper's nothing is said of it
        lead = "Contradicts the paper" if curve.row.backbone.of_photographs else "Other than published"
        said.append(f"{lead}: {listed(against)}.")
    if unsure:
        said.append(f"Can't be told: whether {listed(unsure)}.")
    if any(claim.agrees for claim in claims):
        said.append("The rest is as published." if said else "As published.")
    return " ".join(said)


def _grouped(claims: Sequence[_Claim]) -> list[str]:
    """Claims in words, those of which the same is said together: ``I-AUROC and P-AUROC do not fall``."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        subjects.setdefault((claim.one, claim.several), []).append(claim.subject)
    return [f"{listed(names)} {one if len(names) == 1 else several}" for (one, several), names in subjects.items()]


def _alike(curve: LearningCurves, other: LearningCurves) -> bool:
    """Whether two rows were trained alike, on the same features: preset, steps, backbone, input and taps."""
    (mine, theirs) = ((one.row.method, one.row.backbone) for one in (curve, other))
    inputs = [(method.preset, *map(method.fit_config.get, ("image_size", "strides"))) for method, _ in (mine, theirs)]
    return inputs[0] == inputs[1] and mine[1] == theirs[1] and curve.loss.steps[-1] == other.loss.steps[-1]


def _of_plain(curve: LearningCurves, peers: Sequence[LearningCurves]) -> list[_Claim]:
    """MLP and CNN: both AUROCs fall, the loss gets near 0."""
    claims = []
    for metric in AUROCS:
        if _known(curve, metric):
            series = curve.metrics[metric]
            if series.peak_at == len(series.steps) - 1:
                claims.append(_Claim(metric, "would have fallen later", "would have fallen later", None))
            else:
                claims.append(_Claim(metric, "does not fall", "do not fall", _fell(series)))
    limits = [NEAR_ZERO * peer.loss.means[-1] for peer in peers if published_kind(peer.row) == TRANSFORMER]
    if limits:
        claims.append(_Claim("the loss", "does not get near 0", "", curve.loss.means[-1] <= min(limits)))
    return claims


def _of_transformer(curve: LearningCurves, peers: Sequence[LearningCurves]) -> list[_Claim]:
    """The plain transformer: its AUROCs fall less than those of MLP and CNN that fall, its loss stays higher."""
    plain = {kind: peer for peer in peers for kind in [published_kind(peer.row)] if kind in (MLP, CNN)}
    claims = []
    for metric in AUROCS:
        known = {kind: peer.metrics[metric] for kind, peer in plain.items() if _known(peer, metric)}
        if not known or not _known(curve, metric):
            continue
        mine = curve.metrics[metric]
        fallen = {kind: series for kind, series in known.items() if _fell(series)}
        less = [kind for kind, series in fallen.items() if (series.fall.mean or 0.0) <= (mine.fall.mean or 0.0)]
        if fallen:
            than = f"less than that of {_the(less or list(fallen))}"
            claims.append(_Claim(metric, f"does not fall {than}", f"do not fall {than}", not less))
        elif _fell(mine):
            but = f"and that of {_the(known)} does not"
            claims.append(_Claim(metric, f"falls, {but}", f"fall, {but}", agrees=False))
        else:
            than = f"less than that of {_the(known)}, which {'does' if len(known) == 1 else 'do'} not fall either"
            claims.append(_Claim(metric, f"falls {than}", f"fall {than}", None))
    if plain:
        highest = max(peer.loss.means[-1] for peer in plain.values())
        claims.append(
            _Claim("the loss", f"does not stay above that of {_the(plain)}", "", curve.loss.means[-1] > highest)
        )
    return claims


def _the(kinds: Iterable[str]) -> str:
    """``the MLP and the CNN``."""
    return listed([f"the {kind}" for kind in kinds])


def _known(curve: LearningCurves, metric: str) -> bool:
    return metric in curve.metrics and bool(curve.metrics[metric].cells)


def _fell(series: Series) -> bool:
    """By one point or more, as it is printed."""
    return round(series.fall.mean or 0.0, 3) >= FALL
