"""Lists all products of the synthetic dataset, their defects, and which products are easily confused.

To add a product, add one module with a ``draw`` function and one entry in ``LOOKS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from datasets.synthetic_parts import capsule, circuit, discs, fabrics, screw, wood
from datasets.synthetic_parts.photograph import Drawing
from datasets.synthetic_parts.random_numbers import RandomNumbers


class Draw(Protocol):
    """A function that draws a product."""

    def __call__(self, scene: RandomNumbers, defect: str | None, damage: RandomNumbers) -> Drawing:
        """Draw one scene.

        Args:
            scene: Source of the normal variation: pose, light, material. It is used in the same way for every
                defect, so the same state gives the same product with and without a defect.
            defect: One of the look's defects, or None for a normal product.
            damage: Source of the defect's position, size and shape.

        Raises:
            ValueError: For a defect that the product can't have.
        """


@dataclass(frozen=True)
class Look:
    """One category.

    Attributes:
        category: Name of its directory.
        is_texture: Whether the product fills the image (a texture) or is inside it (an object).
        defects: Names of its defect types.
        draw: Function that draws it.
    """

    category: str
    is_texture: bool
    defects: tuple[str, ...]
    draw: Draw


@dataclass(frozen=True)
class Confusion:
    """A defect of one category that is the normal appearance of another.

    Inside the mask, the defective product equals the normal product of the other category, pixel by pixel. A detector
    that knows the category of an image can find the defect; a detector of all categories together has seen the same
    pattern on normal images.

    Attributes:
        category: The category in which it is a defect.
        defect: Name of the defect.
        normal_of: The category in which it is normal.
    """

    category: str
    defect: str
    normal_of: str


LOOKS: dict[str, Look] = {
    look.category: look
    for look in (
        Look("capsule", False, capsule.CAPSULE_DEFECTS, capsule.draw_capsule),
        Look("circuit", False, circuit.CIRCUIT_DEFECTS, circuit.draw_circuit),
        Look("flange", False, discs.FLANGE_DEFECTS, discs.draw_flange),
        Look("linen", True, fabrics.LINEN_DEFECTS, fabrics.draw_linen),
        Look("oak", True, wood.OAK_DEFECTS, wood.draw_oak),
        Look("screw", False, screw.SCREW_DEFECTS, screw.draw_screw),
        Look("twill", True, fabrics.TWILL_DEFECTS, fabrics.draw_twill),
        Look("washer", False, discs.WASHER_DEFECTS, discs.draw_washer),
    )
}
"""Every category by name, sorted."""

CONFUSIONS: tuple[Confusion, ...] = (
    Confusion("flange", "missing_hole", normal_of="washer"),
    Confusion("washer", "extra_hole", normal_of="flange"),
    Confusion("twill", "plain_weave", normal_of="linen"),
    Confusion("linen", "twill_weave", normal_of="twill"),
)
"""The confusions that make the unified setting of this dataset harder than the separate one."""
