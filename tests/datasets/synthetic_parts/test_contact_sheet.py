"""The contact sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from datasets.synthetic_parts.canvas import SIZE
from datasets.synthetic_parts.catalogue import LOOKS
from datasets.synthetic_parts.contact_sheet import CONTOUR, NORMALS, TILE, outlined, tile_corner
from datasets.synthetic_parts.sample_image import sample_image


def test_the_contour_runs_around_the_defect_and_does_not_cover_it() -> None:
    image = np.full((SIZE, SIZE, 3), 90, dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[100:140, 60:120] = True
    drawn = (np.asarray(outlined(image, mask, 128)) == CONTOUR).all(axis=2)
    assert drawn.any()
    assert not drawn[50:70, 30:60].any()
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (47, 72, 27, 62)


def test_the_committed_contact_sheet_is_small_and_shows_the_current_pictures() -> None:
    path = Path(__file__).parents[3] / "docs" / "synthetic_contact_sheet.png"
    assert path.stat().st_size < 300_000
    sheet = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    for line, look in enumerate(LOOKS.values()):
        defect = look.defects[0]
        shot = sample_image(look, 0, "test", defect, 0)
        x, y = tile_corner(line, NORMALS)
        drawn = np.asarray(outlined(shot.image, shot.mask, TILE), dtype=int)
        shown = sheet[y : y + TILE, x : x + TILE]
        assert np.abs(drawn - shown).mean() < 6, f"{look.category}: draw the contact sheet again"
