"""The dataset ``synthetic``: eight drawn products in the MVTec layout, generated from a seed on first use.

It needs no download, so everything can be tried and tested at once. Its images resemble those of an inspection line
(see ``docs/synthetic_contact_sheet.png``) and its masks are exact. Some defects of one category are the normal
appearance of another (``CONFUSIONS``), so that one detector for all categories has a harder task than one per
category. Scores on it say nothing about real products.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from datasets.errors import DatasetError, unknown_name
from datasets.index.mvtec_layout import index_folder
from datasets.index.registry import DatasetInfo, register
from datasets.samples.sample import GOOD, DatasetIndex, Split
from datasets.storage.atomic import raise_machine_fault
from datasets.storage.cores import usable_cores
from datasets.storage.locks import file_lock
from datasets.storage.ordinary_files import read_json
from datasets.synthetic_parts.catalogue import LOOKS
from datasets.synthetic_parts.sample_image import sample_image

NAME = "synthetic"
VERSION = 2
"""Version of the images. Raise it when any image changes: stored sets are then generated again."""

SEED, TRAIN, TEST_GOOD, PER_DEFECT = 0, 40, 12, 6
MANIFEST = "manifest.json"
_PNG_LEVEL = 2  # of 9: noise hardly compresses, and the default takes longer than drawing
_PNG_STRATEGY = zlib.Z_RLE  # finds runs only; zlib's hash tables, which differ between its builds, are not used

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """The arguments that a set was generated with, stored in the set as ``manifest.json``.

    Attributes:
        seed: Seed of every image.
        train: Training images per category.
        good: Normal test images per category.
        per_defect: Defective test images per defect type.
        categories: Names, sorted.
        version: Version of the images.
        generator: Mark that distinguishes this manifest from any other file of that name.
    """

    seed: int = SEED
    train: int = TRAIN
    good: int = TEST_GOOD
    per_defect: int = PER_DEFECT
    categories: tuple[str, ...] = tuple(LOOKS)
    version: int = VERSION
    generator: str = "uniboard synthetic"

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Numbers of (train, test good, test anomalous) images per category."""
        return {c: (self.train, self.good, self.per_defect * len(LOOKS[c].defects)) for c in self.categories}

    def samples(self) -> list[tuple[str, Split, str, int]]:
        """Every image as (category, split, type, number)."""
        jobs: list[tuple[str, Split, str, int]] = []
        for category in self.categories:
            jobs += [(category, "train", GOOD, number) for number in range(self.train)]
            jobs += [(category, "test", GOOD, number) for number in range(self.good)]
            for defect in LOOKS[category].defects:
                jobs += [(category, "test", defect, number) for number in range(self.per_defect)]
        return jobs


def generate(
    root: Path,
    seed: int = SEED,
    *,
    train: int = TRAIN,
    good: int = TEST_GOOD,
    per_defect: int = PER_DEFECT,
    categories: Iterable[str] | None = None,
) -> Path:
    """Write the dataset, unless exactly this set exists already.

    The images are written to a temporary directory next to ``root``, which is then renamed, under a file lock. So no
    reader sees an incomplete set; of two processes that start at once, one waits and uses the other's set.

    Args:
        root: Directory of the dataset. A set that was generated with other arguments is replaced.
        seed: Seed of every image.
        train: Training images per category.
        good: Normal test images per category.
        per_defect: Defective test images per defect type.
        categories: Names of the categories; None means all.

    Returns:
        ``root``.

    Raises:
        UnknownNameError: If a category does not exist. The message lists the most similar names.
        DatasetError: If ``root`` holds anything that was not generated here, or can't be written.
    """
    chosen = tuple(sorted(set(LOOKS if categories is None else categories)))
    for category in chosen:
        if category not in LOOKS:
            raise unknown_name(f"category of {NAME}", category, LOOKS)
    recipe = Recipe(seed, train, good, per_defect, chosen)
    if _is_complete(root, recipe):  # without a lock: the directory may be read-only
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(root.parent / f".{root.name}.lock"):
            if not _is_complete(root, recipe):
                _refuse_other_files(root)
                _replace(root, recipe)
    except OSError as error:
        raise DatasetError(
            f"{root}: the synthetic dataset can't be written ({error.strerror or error}). "
            "Check permissions and free space (about 60 MB), or set DATA_DIR to another directory."
        ) from error
    return root


def stored_recipe(root: Path) -> Recipe | None:
    """The recipe of the set in ``root``; None without a readable manifest of this generator."""
    try:
        stored = read_json(root / MANIFEST)
        recipe = Recipe(**{**stored, "categories": tuple(stored["categories"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise_machine_fault(error)
        return None
    return recipe if recipe.generator == Recipe.generator else None


def _is_complete(root: Path, recipe: Recipe) -> bool:
    """Whether ``root`` holds exactly this set with all its files (``verify`` checks their contents)."""
    images = sum(sum(counts) for counts in recipe.counts().values())
    masks = sum(anomalous for _, _, anomalous in recipe.counts().values())
    return stored_recipe(root) == recipe and sum(1 for _ in root.glob("*/*/*/*.png")) == images + masks


def _refuse_other_files(root: Path) -> None:
    """Refuse to replace files that were not generated here."""
    if root.exists() and stored_recipe(root) is None and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(
            f"{root}: the synthetic dataset should be generated here, but there are other files and no "
            f"{MANIFEST} of this generator. Move them away, or set DATA_DIR to another directory."
        )


def _replace(root: Path, recipe: Recipe) -> None:
    _log.info("generating the synthetic dataset in %s (about half a minute)", root)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        with ThreadPoolExecutor(min(4, usable_cores())) as pool:
            for _ in pool.map(lambda job: _write_sample(fresh, recipe.seed, *job), recipe.samples()):
                pass  # drains the iterator, so that an error is raised here
        text = json.dumps(asdict(recipe), indent=1, sort_keys=True) + "\n"
        (fresh / MANIFEST).write_text(text, encoding="utf-8")
        if root.exists():
            root.rename(scratch / "old")
        fresh.rename(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_sample(root: Path, seed: int, category: str, split: Split, kind: str, number: int) -> None:
    shot = sample_image(LOOKS[category], seed, split, kind, number)
    files = {root / category / split / kind / f"{number:03d}.png": Image.fromarray(shot.image)}
    if kind != GOOD:
        mask = Image.fromarray(shot.mask.astype("uint8") * 255)
        files[root / category / "ground_truth" / kind / f"{number:03d}_mask.png"] = mask
    for path, image in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, compress_level=_PNG_LEVEL, compress_type=_PNG_STRATEGY)


def build(root: Path) -> DatasetIndex:
    """Build the index. The set is generated first if it is missing, incomplete or of another version.

    A set that was generated with another seed or size (``generate``) is used as it is: its fingerprint differs
    from that of the standard one.

    Raises:
        DatasetError: If the set can't be written or read.
    """
    recipe = stored_recipe(root)
    if recipe is None or recipe.version != VERSION or not set(recipe.categories) <= set(LOOKS):
        generate(root)
    else:
        generate(
            root,
            recipe.seed,
            train=recipe.train,
            good=recipe.good,
            per_defect=recipe.per_defect,
            categories=recipe.categories,
        )
    textures = tuple(c for c, look in LOOKS.items() if look.is_texture)
    return index_folder(root, NAME, textures=textures)


register(
    DatasetInfo(
        name=NAME,
        title="Synthetic",
        licence="made by this project (procedural); same licence as the code (Apache-2.0)",
        instructions="Nothing to do: it is generated on first use, in about half a minute (60 MB).",
        build=build,
        counts=Recipe().counts(),
        directory=NAME,
        synthesised=True,
    )
)
