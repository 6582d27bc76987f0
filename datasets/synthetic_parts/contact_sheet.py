"""Draws ``docs/synthetic_contact_sheet.png``: two normal images of each category and one with each of its defects.

``python -m datasets.synthetic_parts.contact_sheet docs/synthetic_contact_sheet.png``
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from datasets.samples.sample import GOOD
from datasets.synthetic_parts.canvas import Region
from datasets.synthetic_parts.catalogue import LOOKS, Look
from datasets.synthetic_parts.sample_image import sample_image

TILE, GAP, CAPTION = 104, 4, 15
NORMALS = 2
_LEFT = 62  # room for the names of the categories
CONTOUR = (255, 0, 170)
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 32, 36), (110, 114, 122)
_EXACT = (_PAPER, _INK, _FAINT, CONTOUR)
_COLOURS, _COLOURS_OF_A_TILE = 200, 24  # a palette makes the file a third of the size of full colour


def outlined(image: npt.NDArray[np.uint8], mask: Region, size: int) -> Image.Image:
    """The image reduced to ``size``, with a contour one pixel wide around the defect.

    Args:
        image: ``(H, W, 3)``.
        mask: ``(H, W)`` bool, true on the defect.
        size: Edge length of the result in pixels.
    """
    small = np.array(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
    share = Image.fromarray(mask.astype(np.uint8) * 255).resize((size, size), Image.Resampling.BOX)
    near = ndimage.binary_dilation(np.asarray(share) > 0, iterations=2)
    small[ndimage.binary_dilation(near) & ~near] = CONTOUR
    return Image.fromarray(small)


def _row(look: Look, seed: int) -> list[tuple[Image.Image, str]]:
    """Tiles of one category with their captions."""
    tiles = []
    for number in range(NORMALS):
        shot = sample_image(look, seed, "train", GOOD, number)
        tiles.append((outlined(shot.image, shot.mask, TILE), "normal"))
    for number, defect in enumerate(look.defects):
        shot = sample_image(look, seed, "test", defect, number)
        tiles.append((outlined(shot.image, shot.mask, TILE), defect.replace("_", " ")))
    return tiles


def tile_corner(line: int, column: int) -> tuple[int, int]:
    """Position (x, y) in pixels of the upper left corner of a tile."""
    return _LEFT + column * (TILE + GAP), GAP + line * (TILE + GAP + CAPTION)


def _palette(tiles: list[Image.Image]) -> Image.Image:
    """One palette for all tiles, in which the colours of small defects count as much as those of the background."""
    colours = []
    for tile in tiles:
        own = tile.quantize(_COLOURS_OF_A_TILE, Image.Quantize.MAXCOVERAGE).convert("RGB")
        colours.append(np.unique(np.asarray(own).reshape(-1, 3), axis=0))
    swatches = Image.fromarray(np.concatenate(colours)[None])
    chosen = swatches.quantize(_COLOURS, Image.Quantize.MEDIANCUT, kmeans=2).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in _EXACT for channel in colour] + chosen[: 3 * _COLOURS])
    return palette


def contact_sheet(seed: int = 0) -> Image.Image:
    """The contact sheet with one row per category. It has a palette, so that the file stays small."""
    rows = {category: _row(look, seed) for category, look in LOOKS.items()}
    columns = max(len(row) for row in rows.values())
    sheet = Image.new("RGB", tile_corner(len(rows), columns), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title, caption = ImageFont.load_default(13), ImageFont.load_default(10.5)
    for line, (category, tiles) in enumerate(rows.items()):
        draw.text((GAP, tile_corner(line, 0)[1] + TILE / 2), category, fill=_INK, font=title, anchor="lm")
        for column, (tile, name) in enumerate(tiles):
            x, top = tile_corner(line, column)
            sheet.paste(tile, (x, top))
            colour = _FAINT if name == "normal" else _INK
            draw.text((x + TILE / 2, top + TILE + CAPTION / 2), name, fill=colour, font=caption, anchor="mm")
    palette = _palette([tile for tiles in rows.values() for tile, _ in tiles])
    reduced = sheet.quantize(palette=palette, dither=Image.Dither.NONE)
    numbers, colours = np.array(reduced), np.asarray(sheet)
    for number, colour in enumerate(_EXACT):  # quantize gives these colours only approximately
        numbers[(colours == colour).all(axis=2)] = number
    exact = Image.fromarray(numbers, "P")
    exact.putpalette(palette.getpalette() or [])
    return exact


if __name__ == "__main__":
    contact_sheet().save(Path(sys.argv[1]), optimize=True)
