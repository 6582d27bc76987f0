"""What the learning curves show, in sentences, and whether it agrees with the published story."""

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

_OTHER_FEATURES = {"nothing": "is untrained", "formulas": "has seen no photographs"}
"""What is said of a backbone that was not trained on photographs, by what it was trained on."""
_STORY = {
    MLP: "the loss of the MLP gets near 0 while both AUROCs fall after an early peak",
    CNN: "the loss of the CNN gets near 0 while both AUROCs fall after an early peak",
    TRANSFORMER: "the plain transformer's loss stays higher and its AUROCs fall less",
    UNIAD: "UniAD's AUROCs do not fall",
}


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
    for trained_on, what in _OTHER_FEATURES.items():
        such = [curve for curve in curves if curve.row.backbone.trained_on == trained_on]
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
    parts += [_change(metric, curve.metrics[metric]) for metric in AUROCS if curve.has(metric)]
    return f"{'; '.join(parts)}."


def percent(share: float) -> str:
    """``31 %``, with a decimal below ten."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def _change(metric: str, series: Series) -> str:
    """How a metric ended, relative to its peak."""
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
    """``As published.``, or what contradicts, or what can't be decided; empty if no published claim applies."""
    claims = judge(curve, others)
    against = _grouped([claim for claim in claims if claim.agrees is False])
    unsure = _grouped([claim for claim in claims if claim.agrees is None])
    said = []
    if against:  # on features of another kind than the paper's, a curve can't contradict the paper
        lead = "Contradicts the paper" if curve.row.backbone.trained_on == "photographs" else "Other than published"
        said.append(f"{lead}: {listed(against)}.")
    if unsure:
        said.append(f"Can't be told: whether {listed(unsure)}.")
    if any(claim.agrees for claim in claims):
        said.append("The rest is as published." if said else "As published.")
    return " ".join(said)


def _grouped(claims: Sequence[Claim]) -> list[str]:
    """Claims as text, those that say the same together: ``I-AUROC and P-AUROC do not fall``."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        subjects.setdefault(_wording(claim), []).append("the loss" if claim.subject == "loss" else claim.subject)
    return [f"{listed(names)} {one if len(names) == 1 else several}" for (one, several), names in subjects.items()]


def _wording(claim: Claim) -> tuple[str, str]:
    """What is said of one subject, and of several, where a claim is contradicted or undecided."""
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
    but = f"and that of {_the(claim.peers)} does not"
    return f"falls, {but}", f"fall, {but}"


def _the(kinds: Iterable[str]) -> str:
    """``the MLP and the CNN``."""
    return listed([f"the {kind}" for kind in kinds])
