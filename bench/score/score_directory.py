"""Scores any directory of images with a fitted detector (``bench score``), without feature bank and protocol."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from bench.errors import OptionError
from bench.plan.checkpoints import backbone_choice, read_checkpoint_file
from bench.plan.devices import resolve_device
from bench.plan.options import Scoring
from bench.score.outputs import CommonScale, map_archive, overlay
from datasets.errors import DatasetError
from datasets.samples.images import IMAGE_SUFFIXES, decode, load_image
from datasets.samples.value_range import bits_in_use
from datasets.storage.atomic import raise_machine_fault, written
from datasets.storage.temporary_files import LONGEST_NAME
from methods.backbones.backbone import AnyBackbone, load_backbone
from methods.checkpoints.checkpoint import Checkpoint, remarks_on, require_categories, save_detector
from methods.detector import Batch, Detector, Prediction
from methods.errors import CheckpointError
from methods.features.batch import batch_from_images
from results.tables.formats import without_formula

BATCH = 16
MAPS, SCORES, OVERLAYS = "maps.npz", "scores.csv", "overlays"
_CURE = "Choose another --out."
NO_CATEGORY = ("-", "-")


@dataclass(frozen=True)
class _Scored:
    """One scored image: its path, image score, category, and how the category was found."""

    path: str
    score: float
    category: str
    how: str


def score_directory(scoring: Scoring, console: Console) -> int:
    """Score a directory of images and write ``maps.npz``, ``scores.csv`` and ``overlays/``.

    Args:
        scoring: The options of the command.
        console: Where to print progress, and the images that could not be scored.

    Returns:
        Number of images that could not be scored.

    Raises:
        UniBoardError: If there are no images, or the checkpoint can't be used.
    """
    checkpoint = read_checkpoint_file(scoring.checkpoint, scoring.methods, scoring.categories, scoring.assignments)
    if scoring.category:
        require_categories(checkpoint, [scoring.category])
        if not checkpoint.detector_class.info.class_aware:
            _say(
                console,
                f"Warning: {checkpoint.detector_class.info.title} does not use categories: --category has no effect.",
            )
    paths = find_images(scoring.images, scoring.out)
    unlisted: list[str] = []
    suffixes = Counter(Path(file).suffix.lower() for file in _files(scoring.images, scoring.out, unlisted))
    for reason in unlisted:
        _say(console, f"Not read: {reason}.")
    for suffix, count in sorted(suffixes.items()):
        if suffix not in IMAGE_SUFFIXES:
            what = f"with the suffix {suffix}" if suffix else "without a suffix"
            _say(console, f"Not read: {count} file{'s' if count > 1 else ''} {what}.")
    device = torch.device(resolve_device(scoring.device))
    choice = backbone_choice(
        checkpoint, scoring.backbone, scoring.weights, scoring.weights_dir, scoring.backbone_padding
    )
    backbone = load_backbone(choice).to(device)
    for remark in remarks_on(checkpoint, backbone, named=bool(scoring.backbone)):
        _say(console, f"Warning: {remark}.")
    detector = checkpoint.build(checkpoint.layout_with(backbone), device)
    if scoring.save is not None:
        _save(scoring.save, detector, backbone, checkpoint.value_bits)
    _say(
        console,
        f"Scoring {len(paths)} images by {checkpoint.detector_class.info.title} ({detector.sizes()}) on {choice.name}, "
        f"{choice.weights} weights, {choice.padding} padding.",
    )
    scorer = _Scorer(checkpoint, detector, backbone, scoring, device)
    scorer.bits = bits_in_use(scoring.images, paths)
    if scorer.bits is not None:
        used = sorted({scorer.bits_of(path) or scorer.bits for path in paths})
        text = f"16-bit files: their values are scaled from {', '.join(map(str, used))} bits, "
        if not checkpoint.value_bits:
            text += "the smallest range that holds them."
        else:
            text += "as those of the training images were."
            text += " Some are larger: they become white." if scorer.bits > used[0] else ""
        _say(console, text)
    try:
        scoring.out.mkdir(parents=True, exist_ok=True)
        scored, scale = _write_maps(scorer, paths, scoring.out, console)
        _write_scores(scoring.out / SCORES, scored)
        _write_overlays(scorer, scored, scale, scoring.out, console)
    except OSError as error:
        raise OptionError(
            f"{scoring.out}: can't be written ({error.strerror or error}). Choose another --out."
        ) from error
    for path, reason in scorer.problems.items():
        _say(console, f"Not scored: {path}: {reason}")
    _say(console, f"{len(scored)} images scored, {len(scorer.problems)} not; see {scoring.out}.")
    return len(scorer.problems)


def find_images(root: Path, out: Path) -> list[str]:
    """The image files under a directory in natural order (2 before 10), without hidden ones and those under ``out``.

    Returns:
        POSIX paths relative to ``root``.

    Raises:
        DatasetError: If there is no image.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such directory. --images names a directory of images.")
    found = [file for file in _files(root, out) if Path(file).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise DatasetError(f"{root}: has no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return sorted(found, key=_natural)


def _files(root: Path, out: Path, unlisted: list[str] | None = None) -> Iterator[str]:
    """All files under a directory, relative to it, without hidden ones and those under ``out``.

    Args:
        root: The directory.
        out: Directory of the results.
        unlisted: Gets the directories that can't be listed, each with the reason.
    """

    def note(error: OSError) -> None:
        raise_machine_fault(error)
        if unlisted is not None:
            unlisted.append(f"{error.filename}: can't be listed ({error.strerror})")

    own = {os.path.realpath(out), os.path.realpath(out / OVERLAYS)}
    for directory, below, names in os.walk(root, onerror=note):
        place = Path(directory)
        below[:] = [name for name in below if not name.startswith(".") and os.path.realpath(place / name) not in own]
        yield from ((place / name).relative_to(root).as_posix() for name in names if not name.startswith("."))


def _natural(path: str) -> tuple[list[list[str | int]], str]:
    parts: list[list[str | int]] = [
        [int(piece) if piece.isdecimal() else piece.casefold() for piece in re.split(r"(\d+)", part)]
        for part in path.split("/")
    ]
    return parts, path


def category_of(path: str, root: Path, known: Sequence[str]) -> str:
    """The innermost directory of an image, ``root`` included, that is named like a category; empty if there is none.

    Args:
        path: POSIX path of the image relative to ``root``.
        root: The directory of images.
        known: The categories.
    """
    directories = [Path(os.path.realpath(root)).name, *PurePosixPath(path).parent.parts]
    return next((name for name in reversed(directories) if name in known), "")


class _Scorer:
    """Computes predictions of images. An image that can't be read is skipped and becomes a problem.

    Attributes:
        problems: Why an image is not scored, by path.
        bits: The smallest range that holds the values of all 16-bit files; None if there are none.
    """

    def __init__(
        self, checkpoint: Checkpoint, detector: Detector, backbone: AnyBackbone, scoring: Scoring, device: torch.device
    ) -> None:
        self.detector, self.backbone, self.device = detector, backbone, device
        self.root, self.category = scoring.images, scoring.category
        self.spec = checkpoint.detector_class.features(checkpoint.config)
        self.value_bits = checkpoint.value_bits
        self.problems: dict[str, str] = {}
        self.bits: int | None = None
        self.by_category = detector.needs_category()
        # If the user chose a test-time option that predicts the category, the directories are not used.
        self.by_directory = detector.told_category(detector.config)
        if self.by_category:
            detector.config = detector.with_told_category()

    def bits_of(self, path: str) -> int | None:
        """The range from which a 16-bit file is scaled: that of the training images of its category, if it is known."""
        category = self.category or category_of(path, self.root, tuple(self.value_bits))
        return self.value_bits.get(category, max(self.value_bits.values(), default=self.bits))

    def __call__(self, paths: Sequence[str]) -> tuple[list[str], Prediction | None, list[tuple[str, str]]]:
        """The paths that could be read, their prediction, and for each the category and how it was found."""
        readable, pixels = [], []
        for path in paths:
            try:
                path.encode()  # names that are not valid Unicode can't be written to the results
                pixels.append(load_image(self.root, path, self.spec.image_size, self.bits_of(path), self.spec.resize))
                readable.append(path)
            except (DatasetError, UnicodeEncodeError) as error:
                self.skip(path, error)
        if not readable:
            return [], None, []
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(self.device)
        batch = batch_from_images(images, self.backbone, self.spec)
        chosen = self._categories(readable, batch)
        names = tuple(name for name, _ in chosen) if self.by_category else None
        return readable, self.detector.predict(replace(batch, categories=names)), chosen

    def skip(self, path: str, error: Exception) -> None:
        """Note why an image is not scored. A fault of the machine is none of the image."""
        raise_machine_fault(error)
        reason = "its name is not valid Unicode; rename it" if isinstance(error, UnicodeEncodeError) else str(error)
        self.problems[path.encode(errors="backslashreplace").decode()] = reason

    def _categories(self, paths: Sequence[str], batch: Batch) -> list[tuple[str, str]]:
        """Category of each image, and how it was found: by --category, else by directory, else predicted."""
        if not self.by_category:
            return [NO_CATEGORY] * len(paths)
        if self.category:
            return [(self.category, "given by --category")] * len(paths)
        known = self.detector.layout.categories
        named = [category_of(path, self.root, known) if self.by_directory else "" for path in paths]
        if all(named):
            return [(name, "directory") for name in named]
        predicted, how = self.detector.choose_categories(batch.features[0])
        return [(name, "directory") if name else (other, how) for name, other in zip(named, predicted, strict=True)]


def _write_maps(
    scorer: _Scorer, paths: Sequence[str], out: Path, console: Console
) -> tuple[list[_Scored], CommonScale]:
    """First pass: write the maps to the archive; return the scored images, and the scale of all maps."""
    scored: list[_Scored] = []
    scale = CommonScale(len(paths))
    with map_archive(out / MAPS) as archive:
        starts = range(0, len(paths), BATCH)
        for start in track(starts, "maps", console=console, disable=not console.is_terminal):
            readable, prediction, chosen = scorer(paths[start : start + BATCH])
            if prediction is None:
                continue
            maps: NDArray[np.float32] = prediction.maps.float().cpu().numpy()
            values = prediction.image_scores.float().cpu().tolist()
            for path, map_, value, (category, how) in zip(readable, maps, values, chosen, strict=True):
                archive.write(path, map_)
                scale.add(map_)
                scored.append(_Scored(path, value, category, how))
    return scored, scale


def _write_scores(file: Path, scored: Sequence[_Scored]) -> None:
    with written(file, _CURE) as partial, partial.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(("path", "image_score", "category", "how"))
        for one in scored:
            writer.writerow((without_formula(one.path), f"{one.score:.9g}", without_formula(one.category), one.how))


def _write_overlays(
    scorer: _Scorer, scored: Sequence[_Scored], scale: CommonScale, out: Path, console: Console
) -> None:
    """Second pass: draw every map in the colours of the common scale over its image, in the image's own size."""
    if not scored:
        return
    low, high = scale.low, scale.high
    with np.load(out / MAPS) as archive:
        for one, map_ in track(
            _maps(archive, scored), "overlays", len(scored), console=console, disable=not console.is_terminal
        ):
            try:
                picture = overlay(decode(scorer.root, one.path, scorer.bits_of(one.path)), map_, low, high)
            except DatasetError as error:  # the image was readable in the first pass
                scorer.skip(one.path, error)
                continue
            file = out / OVERLAYS / overlay_name(one.path)
            if file.name != f"{PurePosixPath(one.path).name}.png":
                _say(console, f"The name of {one.path} is too long for that of an overlay: it is {file.name}.")
            with written(file, _CURE) as partial:
                picture.save(partial, "PNG")
    _say(console, f"Colours of the overlays: {low:.4g} (dark) to {high:.4g} (bright; 99.9 % quantile of all maps).")


def overlay_name(path: str) -> str:
    """The path of an image's overlay below its directory: that of the image with ``.png`` behind it.

    A name that would be too long for a file system is cut, and gets eight digits that no other image's has.
    """
    place = PurePosixPath(path)
    if len(os.fsencode(f"{place.name}.png")) <= LONGEST_NAME:
        return f"{path}.png"
    ending = f".{hashlib.sha256(path.encode()).hexdigest()[:8]}.png"
    cut = os.fsencode(place.name)[: LONGEST_NAME - len(ending)].decode(errors="ignore")
    return str(place.with_name(f"{cut}{ending}"))


def _maps(archive: np.lib.npyio.NpzFile, scored: Sequence[_Scored]) -> Iterator[tuple[_Scored, NDArray[np.float32]]]:
    for one in scored:
        yield one, archive[one.path]


def _save(file: Path, detector: Detector, backbone: AnyBackbone, value_bits: Mapping[str, int]) -> None:
    if file.suffix != ".safetensors":
        raise CheckpointError(f"--save {file}: the name of a file in this project's format ends in .safetensors.")
    choice = backbone.choice
    recorded = {"name": choice.name, "weights": choice.weights, "sha256": backbone.sha256, "padding": choice.padding}
    save_detector(file, detector, recorded, value_bits=value_bits)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False)
