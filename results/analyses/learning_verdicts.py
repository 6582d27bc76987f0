"""Whether learning curves agree with what was published about them.

UniAD (NeurIPS 2022, MVTec AD, unified setting) explains by learning curves why reconstruction networks fail when they
are trained on many categories: the loss of an MLP and a CNN gets near 0 while their AUROCs fall after an early peak,
because both learn to copy every input; a plain transformer's loss stays higher and its AUROCs fall less; UniAD's AUROCs
do not fall. This module says which of these claims apply to a curve, and whether the curve agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from results.analyses.learning_curves import LearningCurves, Series
from results.metrics.catalogue import AUROCS
from results.rows.cell import number
from results.rows.row import Row

MLP, CNN, TRANSFORMER, UNIAD = "MLP", "CNN", "transformer", "UniAD"
PLAIN = {"shortcut_mlp": MLP, "shortcut_cnn": CNN, "shortcut_transformer": TRANSFORMER}
"""Networks without UniAD's remedies, by the name of the method, in the order of the paper."""
FALL = 0.01
"""The smallest fall that counts: one point."""
NEAR_ZERO = 0.5
"""A loss is near 0 if it is at most this share of the plain transformer's: both reconstruct the same features. (The
first loss can't be the reference, because it depends on how the network is initialised.)"""
LONG = 100
"""Least presentations of each image for a comparison with the paper, which shows each image 1,000 times."""

Course = Literal["highest at the end", "falls", "as high as its peak", "below its peak"]
Statement = Literal["falls", "does not fall", "falls less", "gets near 0", "stays higher"]


@dataclass(frozen=True)
class Claim:
    """A published claim about one quantity of a curve, and whether the curve agrees.

    Attributes:
        subject: A metric, or ``loss``.
        statement: What the paper says of it. ``falls less`` and ``stays higher`` compare with ``peers``.
        agrees: Whether the curve agrees; None where it can't be decided.
        peers: Networks that the curve is compared with. If it does not fall less than some of them, only these.
        peers_fall: Whether any of the peers' curves falls, for ``falls less``.
    """

    subject: str
    statement: Statement
    agrees: bool | None
    peers: tuple[str, ...] = ()
    peers_fall: bool = True


def published_kind(row: Row) -> str:
    """The published network whose learning curve a row can be compared with; empty if there is none.

    UniAD counts only with all its remedies: a query in every layer, the neighbour masks, the jitter.
    """
    if row.method.name in PLAIN:
        return PLAIN[row.method.name]
    config = row.method.fit_config
    masks = all(config.get(name, True) for name in ("mask_encoder", "mask_decoder_cross", "mask_decoder_self"))
    jitters = config.get("jitter_scale", 1) and config.get("jitter_probability", 1)
    return UNIAD if row.method.name == "uniad" and config.get("query") == "all" and masks and jitters else ""


def fell(series: Series) -> bool:
    """Whether a metric ends one point or more below its peak, rounded as it is printed."""
    return round(series.fall.mean or 0.0, 3) >= FALL


def course(series: Series) -> Course:
    """How a metric ends, relative to its peak."""
    if series.peak_at == len(series.steps) - 1:
        return "highest at the end"
    if fell(series):
        return "falls"
    return "as high as its peak" if number(series.fall.mean or 0.0) == "0.0" else "below its peak"


def judge(curve: LearningCurves, others: Sequence[LearningCurves]) -> tuple[Claim, ...]:
    """The published claims about a curve, each with whether the curve agrees.

    Args:
        curve: A curve of the unified setting.
        others: Curves of rows of the same table; those that were trained alike are compared with it.

    Returns:
        The claims; empty for single points, short trainings and networks without a published curve, and with one
        category, because the paper's claims are about one detector for many.
    """
    if len(curve.loss.steps) < 2 or curve.presentations < LONG or not curve.row.comparable:
        return ()
    kind = published_kind(curve.row)
    alike = [(published_kind(other.row), other) for other in others if _trained_alike(curve, other)]
    if kind in (MLP, CNN):
        return (*_falls(curve), *_gets_near_zero(curve, [other for name, other in alike if name == TRANSFORMER]))
    if kind == TRANSFORMER:
        plain = {name: other for name, other in alike if name in (MLP, CNN)}
        return (*_falls_less(curve, plain), *_stays_higher(curve, plain))
    if kind == UNIAD:
        return tuple(Claim(metric, "does not fall", not fell(curve.metrics[metric])) for metric in _known(curve))
    return ()


def _trained_alike(curve: LearningCurves, other: LearningCurves) -> bool:
    """Whether two rows have the same preset, steps, backbone, image size and strides of the features."""
    (mine, theirs) = ((one.row.method, one.row.backbone) for one in (curve, other))
    inputs = [(method.preset, *map(method.fit_config.get, ("image_size", "strides"))) for method, _ in (mine, theirs)]
    return inputs[0] == inputs[1] and mine[1] == theirs[1] and curve.loss.steps[-1] == other.loss.steps[-1]


def _known(curve: LearningCurves) -> list[str]:
    """The compared metrics that the curve has."""
    return [metric for metric in AUROCS if curve.has(metric)]


def _falls(curve: LearningCurves) -> list[Claim]:
    """MLP and CNN: both AUROCs fall. A metric that is highest at the end may still fall later, so it is undecided."""
    claims = []
    for metric in _known(curve):
        series = curve.metrics[metric]
        undecided = course(series) == "highest at the end"
        claims.append(Claim(metric, "falls", None if undecided else fell(series)))
    return claims


def _gets_near_zero(curve: LearningCurves, transformers: Sequence[LearningCurves]) -> list[Claim]:
    """MLP and CNN: the loss gets near 0, compared with that of every plain transformer."""
    limits = [NEAR_ZERO * transformer.loss.means[-1] for transformer in transformers]
    return [Claim("loss", "gets near 0", curve.loss.means[-1] <= min(limits))] if limits else []


def _falls_less(curve: LearningCurves, plain: dict[str, LearningCurves]) -> list[Claim]:
    """The plain transformer: its AUROCs fall less than those of MLP and CNN that fall."""
    claims = []
    for metric in _known(curve):
        known = {kind: peer.metrics[metric] for kind, peer in plain.items() if peer.has(metric)}
        if not known:
            continue
        mine = curve.metrics[metric]
        fallen = {kind: series for kind, series in known.items() if fell(series)}
        less = [kind for kind, series in fallen.items() if (series.fall.mean or 0.0) <= (mine.fall.mean or 0.0)]
        if fallen:
            claims.append(Claim(metric, "falls less", not less, tuple(less or fallen)))
        else:
            claims.append(Claim(metric, "falls less", False if fell(mine) else None, tuple(known), peers_fall=False))
    return claims


def _stays_higher(curve: LearningCurves, plain: dict[str, LearningCurves]) -> list[Claim]:
    """The plain transformer: its loss stays above those of MLP and CNN."""
    if not plain:
        return []
    highest = max(peer.loss.means[-1] for peer in plain.values())
    return [Claim("loss", "stays higher", curve.loss.means[-1] > highest, tuple(plain))]
