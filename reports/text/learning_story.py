"""Sentences about learning curves: what each curve shows, and whether it agrees with the published curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.text.sentences import listed, times
from results.analyses.learning_curves import LearningCurves, Series
from results.analyses.learning_verdicts import (
    CNN,
    FALL,
    LONG,
    MLP,
    NEAR_ZERO,
    TRANSFORMER,
    UNIAD,
    Claim,
    course,
    judge,
    published_kind,
)
from results.metrics.catalogue import AUROCS
from results.rows.cell import number

_STORY = {
    MLP: "the loss of the MLP gets near 0 while both AUROCs fall after an early peak",
    CNN: "the loss of the CNN gets near 0 while both AUROCs fall after an early peak",
    TRANSFORMER: "the plain transformer's loss stays higher and its AUROCs fall less",
    UNIAD: "UniAD's AUROCs do not fall",
}


@dataclass(frozen=True)
class Observation:
    """The text about one row.

    Attributes:
        name: Label of the row.
        seen: What its curves show.
        verdict: How this compares with the published curves; empty if nothing is published about such a row.
    """

    name: str
    seen: str
    verdict: str


def background(curves: Sequence[LearningCurves]) -> list[str]:
    """What is published about the networks of these curves, the thresholds, and caveats of the comparison.

    Args:
        curves: Learning curves in the unified setting, of rows of one table.

    Returns:
        Sentences; none if nothing is published about any of the networks, or if there is one category.
    """
    curves = [curve for curve in curves if curve.loss.cells and curve.row.comparable]
    kinds = [kind for kind in _STORY if any(published_kind(curve.row) == kind for curve in curves)]
    if not kinds:
        return []
    story = [_STORY[kind] for kind in kinds]
    if kinds[:2] == [MLP, CNN]:
        story[:2] = ["the losses of MLP and CNN get near 0 while their AUROCs fall after an early peak"]
    near = ""
    if TRANSFORMER in kinds and kinds[0] in (MLP, CNN):
        near = f", and a loss counts as near 0 if it is at most {100 * NEAR_ZERO:g} % of the transformer's"
    shown = sorted(curve.presentations for curve in curves)
    sentences = [
        f"Published (UniAD, NeurIPS 2022; MVTec AD): {'; '.join(story)}. Here AUROCs count as "
        f"falling if they fall by {number(FALL)} point or more{near}. Each image was shown "
        f"{times(shown[0], shown[-1])} in these trainings and 1,000× in UniAD's published schedule."
    ]
    if shown[0] < LONG:
        sentences.append(
            f"Trainings that show each image fewer than {LONG} times are too short to confirm or contradict the paper; "
            "their curves are described but not compared with it."
        )
    untrained = [curve for curve in curves if curve.row.backbone.trained_on == "nothing"]
    if untrained:
        which = "The backbone" if len(untrained) == len(curves) else "The backbone of some rows"
        sentences.append(f"{which} is untrained: such curves test the harness, not the paper's claim.")
    return sentences


def observations(curves: Sequence[LearningCurves], names: Mapping[str, str]) -> list[Observation]:
    """What each curve shows, in the order of the curves; blank curves are left out.

    Args:
        curves: Learning curves in the unified setting, of rows of one table.
        names: Labels of the rows, by row id.
    """
    shown = [curve for curve in curves if curve.loss.cells]
    return [Observation(names[curve.row.row_id], _seen(curve), _verdict(curve, shown)) for curve in shown]


def _seen(curve: LearningCurves) -> str:
    """A sentence such as ``the loss fell from 0.3 to 0.02; I-AUROC fell by 6.1 points after its peak at step 130.``."""
    if len(curve.loss.steps) < 2:
        return "there is one point only, hence no curve."
    first, last = curve.loss.means[0], curve.loss.means[-1]
    parts = [f"the loss {'fell' if last < first else 'rose'} from {first:.2g} to {last:.2g}"]
    parts += [_change(metric, curve.metrics[metric]) for metric in AUROCS if curve.has(metric)]
    return f"{'; '.join(parts)}."


def percent(share: float) -> str:
    """A share as text, e.g. ``31 %``, with one decimal below ten percent."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def _change(metric: str, series: Series) -> str:
    """How the last value of a metric compares with its peak."""
    fall = series.fall
    points = number(fall.mean or 0.0) + ("" if fall.std is None else f" ± {100 * fall.std:.1f}")
    step = f"{series.steps[series.peak_at]:,}"
    return {
        "highest at the end": f"{metric} was highest at the last step",
        "falls": f"{metric} fell by {points} points after its peak at step {step}",
        "as high as its peak": f"{metric} ended as high as its peak at step {step}",
        "below its peak": f"{metric} ended {points} points below its peak at step {step}",
    }[course(series)]


def _verdict(curve: LearningCurves, others: Sequence[LearningCurves]) -> str:
    """Which published claims the curve contradicts and which are undecided; empty if no published claim applies."""
    claims = judge(curve, others)
    against = _grouped([claim for claim in claims if claim.agrees is False])
    unsure = _grouped([claim for claim in claims if claim.agrees is None])
    sentences = []
    if against:  # on features of another kind than the paper's, a curve can't contradict the paper
        contradicts = curve.row.backbone.trained_on == "photographs"
        lead = "Contradicts the paper" if contradicts else "Differs from the published curves"
        sentences.append(f"{lead}: {listed(against)}.")
    if unsure:
        sentences.append(f"Undecided: whether {listed(unsure)}.")
    if any(claim.agrees for claim in claims):
        sentences.append("The rest is as published." if sentences else "As published.")
    return " ".join(sentences)


def _grouped(claims: Sequence[Claim]) -> list[str]:
    """Claims as text; claims with the same statement share a sentence: ``I-AUROC and P-AUROC do not fall``."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        subjects.setdefault(_wording(claim), []).append("the loss" if claim.subject == "loss" else claim.subject)
    return [f"{listed(names)} {one if len(names) == 1 else several}" for (one, several), names in subjects.items()]


def _wording(claim: Claim) -> tuple[str, str]:
    """The words for a contradicted or undecided claim, for one subject and for several."""
    if claim.statement == "gets near 0":
        return "does not get near 0", "do not get near 0"
    if claim.statement == "stays higher":
        return f"does not stay above that of {_the(claim.peers)}", f"do not stay above that of {_the(claim.peers)}"
    if claim.statement == "does not fall":
        return "falls", "fall"
    if claim.statement == "falls":
        later = "would have fallen later"
        return (later, later) if claim.agrees is None else ("does not fall", "do not fall")
    than = f"less than that of {_the(claim.peers)}"
    if claim.peers_fall:
        return f"does not fall {than}", f"do not fall {than}"
    if claim.agrees is None:
        than += f", which {'does' if len(claim.peers) == 1 else 'do'} not fall either"
        return f"falls {than}", f"fall {than}"
    unlike = f"unlike that of {_the(claim.peers)}"
    return f"falls, {unlike}", f"fall, {unlike}"


def _the(kinds: Iterable[str]) -> str:
    """Networks as text, e.g. ``the MLP and the CNN``."""
    return listed([f"the {kind}" for kind in kinds])
