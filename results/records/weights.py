"""The kinds of backbone weights, and the facts about each.

Ids, labels and sentences depend on what the weights were trained on, not on where they came from. Code that needs to
know it asks ``BackboneEntry``, which looks it up in this table, so a new kind of weights is a name in ``WeightsKind``
and an entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WeightsKind = Literal["pretrained", "file", "packaged", "random", "none"]
TrainedOn = Literal["photographs", "nothing"]


@dataclass(frozen=True)
class WeightsFacts:
    """The facts about a kind of weights.

    Attributes:
        trained_on: ``photographs``, as in the papers; ``nothing``: the weights are random numbers; None without a
            backbone.
        one_backbone: Whether only one backbone has weights of this kind, so that its name identifies them.
    """

    trained_on: TrainedOn | None
    one_backbone: bool = False


WEIGHTS: Mapping[WeightsKind, WeightsFacts] = {
    "pretrained": WeightsFacts("photographs"),
    "file": WeightsFacts("photographs"),
    "packaged": WeightsFacts("photographs", one_backbone=True),
    "random": WeightsFacts("nothing"),
    "none": WeightsFacts(None),
}
"""timm downloads ``pretrained`` weights; ``file`` weights are in WEIGHTS_DIR; ``packaged`` ones come with an installed
package; with ``none`` there is no backbone."""
