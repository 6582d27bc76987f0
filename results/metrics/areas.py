"""AUROC, average precision and maximal F1 of a ranking: the same three for images and for pixels."""

from __future__ import annotations

import numpy as np

from results.metrics.ranking import Ranking


def auroc(ranking: Ranking) -> float:
    """Area under the ROC curve: the probability that an anomalous score beats a normal one, ties half.

    This is the Mann-Whitney statistic, counted in integers (exact below 2^31 scores of each kind). Nothing
    turns a value below 0.5 around: a detector that ranks the wrong way gets the number it deserves.
    """
    beaten_or_tied_twice = 2 * ranking.normal - ranking.above - ranking.reached
    return int(np.sum(ranking.tied * beaten_or_tied_twice)) / (2 * ranking.normal * ranking.anomalous)


def average_precision(ranking: Ranking) -> float:
    """Average precision: sum over distinct thresholds of (rise in recall) x (precision there).

    The step sum, not the trapezoid under the precision-recall curve, which is too optimistic where anomalous
    scores are few. Recall rises at anomalous scores only, so the sum over them is the sum over all
    thresholds.
    """
    precision = ranking.found / (ranking.found + ranking.reached)
    return float(np.sum(ranking.tied * precision)) / ranking.anomalous


def f1_max(ranking: Ranking) -> float:
    """Highest F1 over all distinct thresholds (an upper bound: the threshold is chosen on the test set).

    F1 = 2 TP / (2 TP + FP + FN), and 0 where precision and recall are both 0. Between two anomalous scores
    only false positives are added, so the maximum lies at an anomalous score.
    """
    f1 = 2 * ranking.found / (ranking.found + ranking.reached + ranking.anomalous)
    return float(f1.max())
