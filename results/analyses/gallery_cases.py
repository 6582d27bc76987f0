"""Chooses the test images that a gallery shows, by rule, from the records of seed 0.

Every detector (a row in one setting) ranks a category's test images by its image score; the mean of these ranks over
detectors orders the images. A detector judges an image right if the image's score is on the right side of the threshold
with the detector's largest F1 on the category's test images. This is a diagnostic, because that threshold is chosen on
the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from results.errors import RecordError
from results.records.record import Setting
from results.records.store import Store
from results.rows.row import SETTINGS, Row

SEED = 0
"""The seed whose maps are kept."""
KINDS = {
    "good": "the normal image in the middle of the normal ones, by mean rank",
    "easy": "the defective image of the highest mean rank",
    "hard": "the defective image of the lowest mean rank that at least half of the detectors find",
    "failed": "the image that most detectors judge wrong, a missed defect before a false alarm",
}
"""Kinds of cases with the rule that chooses them."""


@dataclass(frozen=True)
class Witness:
    """Scores and maps of one detector for a category's n test images.

    Attributes:
        row: The row of the leaderboard.
        setting: The setting of the detector.
        paths: (n,) paths of the images.
        labels: (n,) bool, True for anomalous.
        scores: (n,) image scores by the detector's own rule.
        maps: (n, 64, 64) anomaly maps.
        looks: JPEG bytes of the n rebuilt images; empty if there are none.
        threshold: The threshold with the detector's largest F1 on these images.
    """

    row: Row
    setting: Setting
    paths: tuple[str, ...]
    labels: NDArray[np.bool_]
    scores: NDArray[np.float32]
    maps: NDArray[np.float16]
    looks: tuple[bytes, ...]
    threshold: float

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) bool, whether the detector judges each image right."""
        return np.asarray((self.scores >= self.threshold) == self.labels)

    def rarity(self, image: int) -> NDArray[np.float64]:
        """(64, 64) share of the pixels of normal test images whose map value is at least the pixel's own.

        All detectors share this scale: 0.01 means that one in a hundred normal pixels looks at least as anomalous.
        """
        below = np.searchsorted(self._normal, self.maps[image].astype(np.float32), side="left")
        return np.asarray(1 - below / max(self._normal.size, 1))

    @cached_property
    def _normal(self) -> NDArray[np.float32]:
        """Map values of all pixels of normal images, in ascending order."""
        return np.sort(self.maps[~self.labels].astype(np.float32), axis=None)


@dataclass(frozen=True)
class Case:
    """One image of the gallery.

    Attributes:
        kind: The key of ``KINDS`` whose rule chose the image.
        image: Its position among the category's test images.
        right: Number of detectors that judge it right.
        of: Number of all detectors.
    """

    kind: str
    image: int
    right: int
    of: int


def witnesses(store: Store, rows: Sequence[Row], category: str) -> list[Witness]:
    """The detectors of some rows whose maps of a category are stored, in the order of the rows.

    Detectors with other test images than the first one are left out.
    """
    found = []
    for row in rows:
        for setting in SETTINGS:
            record = row.run_of(setting, SEED, category)
            if record is None or record.status != "ok" or category not in record.results:
                continue
            try:
                scores, maps, looks = store.scores(record, ()), store.maps(record), store.looks(record)
            except RecordError:
                continue
            mine = np.flatnonzero(scores.categories == category)
            if len(maps) != len(scores.own) or not len(mine):
                continue
            labels, own = scores.labels[mine], scores.own[mine]
            found.append(
                Witness(
                    row,
                    setting,
                    tuple(map(str, scores.paths[mine])),
                    labels,
                    own,
                    maps[mine],
                    tuple(looks[k] for k in mine) if looks else (),
                    best_threshold(own, labels),
                )
            )
    return [one for one in found if one.paths == found[0].paths]


def best_threshold(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The threshold t with the largest F1 if images that score at least t are called anomalous; the highest such t.

    Args:
        scores: (n,) image scores.
        labels: (n,) bool.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # last position of each group of equal scores
    found = np.cumsum(labels[order])[last]
    f1 = 2 * found / (last + 1 + max(int(labels.sum()), 1))
    return float(ranked[last[int(np.argmax(f1))]])


def choose(seen: Sequence[Witness]) -> list[Case]:
    """Choose the cases of one category: at most one of each kind, and no image twice.

    Args:
        seen: Detectors that saw the same images, at least one.
    """
    labels = seen[0].labels
    ranks = np.mean([scipy.stats.rankdata(one.scores) for one in seen], axis=0)
    right = np.sum([one.right for one in seen], axis=0)
    order = np.lexsort((np.arange(len(labels)), ranks))
    normal = [int(k) for k in order if not labels[k]]
    anomalous = [int(k) for k in order if labels[k]]
    chosen: dict[str, int] = {}
    if normal:
        chosen["good"] = normal[(len(normal) - 1) // 2]
    if anomalous:
        chosen["easy"] = anomalous[-1]
    hard = [k for k in anomalous[:-1] if 2 * right[k] >= len(seen)]
    if hard:
        chosen["hard"] = hard[0]
    # Images with the fewest right detectors come first. Among equal ones, missed defects come before false alarms: the
    # lowest-ranked missed defect and the highest-ranked false alarm first.
    wrongness = np.where(labels, -ranks, ranks)
    failed = [
        int(k) for k in np.lexsort((-wrongness, ~labels, right)) if right[k] < len(seen) and k not in chosen.values()
    ]
    if failed:
        chosen["failed"] = failed[0]
    return [Case(kind, chosen[kind], int(right[chosen[kind]]), len(seen)) for kind in KINDS if kind in chosen]
