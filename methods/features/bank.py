"""The feature bank: frozen features of a dataset, computed once and shared by all runs and processes.

One unit of the bank is one tap of one category's split: an ``.npy`` file (n, C, h, w), memory-mapped when read. Its key
contains all that changes the features: the files' fingerprint, image size and resize filter, backbone, weights,
normalisation, stride, resampling rule, grid, number format and device type. ``methods.features.bank_file`` describes
the storage of a unit and the detection of damage; a damaged unit is computed again.

Detectors that read images get them from the same bank. They are decoded and resized once, as uint8 (n, 3, H, W), under
a key that does not depend on the backbone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.samples.images import Resize, load_images
from datasets.samples.sample import DatasetIndex, Split
from methods.backbones.backbone import AnyBackbone
from methods.errors import BackboneError
from methods.feature_spec import FeatureSpec
from methods.features.bank_file import BankFile, locked
from methods.features.batch import layout_of, resample
from methods.features.feature_set import FeatureSet, Unit
from results.ids import short_id

PASS_BATCH = 16
RESIZE: dict[Resize, str] = {
    "antialiased": "pillow-bilinear-uint8",
    "bilinear": "bilinear-uint8",
    "nearest": "nearest-uint8",
}
"""Names of the filters in keys."""
BankProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BankSettings:
    """Storage settings of the bank.

    Attributes:
        directory: Root of the bank.
        dtype: Number format, ``float16`` or ``float32``.
        device: Device of the backbone pass.
        limit_bytes: Categories whose units would exceed this size are streamed: computed again at every reading.
    """

    directory: Path
    dtype: str = "float16"
    device: str = "cpu"
    limit_bytes: int = 200 << 30


class FeatureBank:
    """Frozen features of one dataset under one backbone.

    Args:
        index: The dataset.
        backbone: Function that builds the backbone. It is called at the first need; a complete bank needs no backbone.
        identity: ``identity()`` of the backbone, which must be known without building it.
        settings: Storage settings.
    """

    def __init__(
        self,
        index: DatasetIndex,
        backbone: Callable[[], AnyBackbone],
        identity: dict[str, Any],
        settings: BankSettings,
    ) -> None:
        self.index = index
        self.identity = identity
        self.settings = settings
        self._make_backbone = backbone
        self._backbone: AnyBackbone | None = None

    @property
    def backbone(self) -> AnyBackbone:
        """The backbone on the bank's device."""
        if self._backbone is None:
            self._backbone = self._make_backbone().to(self.settings.device)
        return self._backbone

    def fill(
        self,
        specs: Sequence[FeatureSpec],
        categories: Sequence[str],
        split: Split,
        progress: BankProgress | None = None,
    ) -> float:
        """Compute the missing units, in one pass per category, image size and filter.

        Returns:
            The time that this took in seconds.
        """
        started = time.perf_counter()
        for category in categories:
            for size, resize in sorted({(spec.image_size, spec.resize) for spec in specs if spec.images}):
                self._keep_images(size, resize, category, split)
            for shared in sorted({_pass_of(spec) for spec in specs if spec.strides}):
                same = [spec for spec in specs if spec.strides and _pass_of(spec) == shared]
                absent = self._absent(same, category, split)
                if absent:
                    with locked(self._lock([category, split, *shared, self.identity])):
                        absent = self._absent(same, category, split)  # another process may have computed them
                        if absent:
                            self._pass(absent, category, split, progress)
        return time.perf_counter() - started

    def open(
        self, spec: FeatureSpec, categories: Sequence[str], split: Split, *, with_categories: bool = False
    ) -> FeatureSet:
        """The features of these categories. Missing units are computed first.

        Args:
            spec: Taps and image size.
            categories: Categories of the images, which come in this order.
            split: ``train`` or ``test``.
            with_categories: Whether batches carry category names (class-aware detectors only).
        """
        self.fill([spec], categories, split)
        units: list[Unit] = []
        seconds = 0.0
        for category in categories:
            length = len(self.index.split(split, category))
            images = self._images(spec.image_size, spec.resize, category, split).load() if spec.images else None
            if spec.strides and self._streamed(spec, length):
                units.append(Unit(category, split, length, None, images))
                continue
            files = [self._tap(spec, stride, category, split) for stride in spec.strides]
            arrays = [file.load() for file in files]
            seconds += max((file.seconds() for file in files), default=0.0)
            units.append(Unit(category, split, length, arrays, images))
        return FeatureSet(spec, units, with_categories, seconds, self.compute_row)

    def compute_row(self, spec: FeatureSpec, category: str, split: Split, row: int) -> list[Tensor]:
        """One image's taps, each (C, h, w) float32, computed by the backbone without storing them (streaming)."""
        samples = self.index.split(split, category)[row : row + 1]
        bits = self.index.value_bits(category)
        pixels = load_images(self.index.root, samples, spec.image_size, bits=bits, resize=spec.resize)
        taps = resample(self._run(pixels, spec), spec)
        return [tap[0].to(getattr(torch, self.settings.dtype)).float().cpu() for tap in taps]

    def _run(self, images: NDArray[np.uint8], spec: FeatureSpec) -> dict[int, Tensor]:
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self.settings.device)
        maps: dict[int, Tensor] = self.backbone(batch, spec.normalisation)
        return maps

    def _keep_images(self, size: int, resize: Resize, category: str, split: Split) -> None:
        """Decode and resize a category's split once."""
        file = self._images(size, resize, category, split)
        if file.is_sound():
            return
        with locked(self._lock(["images", category, split, size, resize, self.index.fingerprint(category, split)])):
            if file.is_sound():  # another process has made it
                return
            started = time.perf_counter()
            samples, threads = self.index.split(split, category), torch.get_num_threads()
            bits = self.index.value_bits(category)
            pixels = load_images(self.index.root, samples, size, threads, bits, resize).transpose(0, 3, 1, 2)
            with file.writing(pixels.shape, "uint8") as stream:
                for picture in pixels:
                    stream.write(picture.tobytes())
            file.seal(time.perf_counter() - started)

    def _images(self, size: int, resize: Resize, category: str, split: Split) -> BankFile:
        key = {"images": self.index.fingerprint(category, split), "image_size": size, "resize": RESIZE[resize]}
        return BankFile(self.settings.directory, key)

    def _lock(self, key: list[Any]) -> Path:
        return self.settings.directory / f"{short_id(key)}.lock"

    def _streamed(self, spec: FeatureSpec, length: int) -> bool:
        layout = layout_of(spec, self.backbone) if self._backbone else None
        if layout is None:
            return False  # the backbone is not built, because all units are stored; stored units are never streamed
        width = np.dtype(self.settings.dtype).itemsize
        size = sum(c * g * g for c, g in zip(layout.channels, layout.grids, strict=True)) * length * width
        return size > self.settings.limit_bytes

    def _absent(self, specs: Sequence[FeatureSpec], category: str, split: Split) -> list[FeatureSpec]:
        absent = []
        for spec in specs:
            if not all(self._tap(spec, stride, category, split).is_sound() for stride in spec.strides):
                _ = self.backbone
                if not self._streamed(spec, len(self.index.split(split, category))):
                    absent.append(spec)
        return absent

    def _tap(self, spec: FeatureSpec, stride: int, category: str, split: Split) -> BankFile:
        key = {
            "images": self.index.fingerprint(category, split),
            "image_size": spec.image_size,
            "resize": RESIZE[spec.resize],
            "stride": stride,
            "resampling": spec.resampling,
            "grid": spec.grid,
            "dtype": self.settings.dtype,
            "device": torch.device(self.settings.device).type,
            **self.identity,
        }
        extra = {"normalisation": spec.normalisation} if spec.normalisation != "backbone" else {}
        return BankFile(self.settings.directory, key | extra)

    def _pass(self, specs: Sequence[FeatureSpec], category: str, split: Split, progress: BankProgress | None) -> None:
        """Run the backbone once over a category's split and write every missing unit of the specs."""
        samples, bits = self.index.split(split, category), self.index.value_bits(category)
        started = time.perf_counter()
        absent: dict[str, tuple[BankFile, tuple[int, ...]]] = {}
        for spec in specs:
            layout = layout_of(spec, self.backbone)
            for stride, channels, grid in zip(spec.strides, layout.channels, layout.grids, strict=True):
                file = self._tap(spec, stride, category, split)
                if file.stem not in absent and not file.is_sound():
                    absent[file.stem] = file, (len(samples), channels, grid, grid)
        with ExitStack() as stack:
            streams: dict[str, BinaryIO] = {
                stem: stack.enter_context(file.writing(shape, self.settings.dtype))
                for stem, (file, shape) in absent.items()
            }
            for start in range(0, len(samples), PASS_BATCH):
                chunk = samples[start : start + PASS_BATCH]
                size, resize, threads = specs[0].image_size, specs[0].resize, torch.get_num_threads()
                pixels = load_images(self.index.root, chunk, size, threads, bits, resize)
                maps = self._run(pixels, specs[0])
                taken = set()  # two specs may share a tap
                for spec in specs:
                    for stride, tap in zip(spec.strides, resample(maps, spec), strict=True):
                        stem = self._tap(spec, stride, category, split).stem
                        if stem in streams and stem not in taken:
                            taken.add(stem)
                            streams[stem].write(self._narrow(tap).tobytes())
                if progress:
                    progress(start + len(chunk), len(samples), f"features of {category} ({split})")
        seconds = time.perf_counter() - started
        for file, _ in absent.values():
            file.seal(seconds)

    def _narrow(self, tap: Tensor) -> NDArray:
        array: NDArray = tap.to(getattr(torch, self.settings.dtype)).cpu().numpy()
        if not np.isfinite(array).all():
            raise BackboneError(
                f"Features of '{self.identity['backbone']}' are not finite as {self.settings.dtype}. "
                "Use BANK_DTYPE=float32, or other weights."
            )
        return array


def _pass_of(spec: FeatureSpec) -> tuple[int, str, str]:
    """What the specs of one pass of the backbone share: image size, filter and normalisation."""
    return spec.image_size, spec.resize, spec.normalisation
