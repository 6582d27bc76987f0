"""Pictures of the features that reconstruction methods rebuild, painted by a small decoder, for the gallery.

They show what a method considers normal. The decoder is trained on the training images alone to paint an image from its
frozen features; all runs that read the same features of the same categories share one decoder. The pictures are a
visualisation, and nothing is ever scored from them.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import Timeout
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from bench.execution.evaluation import TEST_BATCH
from bench.plan.runs import Run
from datasets.samples.images import load_images
from datasets.storage.atomic import raise_machine_fault
from datasets.storage.locks import file_lock
from methods.checkpoints.state_file import read_description, read_state, save_state
from methods.detector import Batch, Detector
from methods.errors import CheckpointError
from results.ids import short_id

IMAGE_SIDE = 64
_STEPS, _BATCH, _RATE = 250, 8, 3e-3
_NOISE, _CUT = 0.3, 4.0
_WIDTHS = (64, 48, 32, 16)
_QUALITY = 80
_VERSION = 1


class ImageDecoder(nn.Module):
    """Paints a picture from frozen features: the taps on one grid, normalised, then convolutions between doublings.

    The features are centred at each channel's mean and divided by one scale for all channels, because a scale per
    channel would magnify the rebuilding error of channels with a low variance. Values beyond four times the scale are
    clipped, since the output of the decoder is arbitrary there.

    Args:
        channels: Number of channels of all taps together.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(()))
        self.first = nn.Conv2d(channels, _WIDTHS[0], 1)
        self.stages = nn.ModuleList(nn.Conv2d(wide, narrow, 3, padding=1) for wide, narrow in pairwise(_WIDTHS))
        self.last = nn.Conv2d(_WIDTHS[-1], 3, 3, padding=1)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """(B, C, h, w) of every tap to (B, 3, 64, 64) in [0, 1]."""
        x = ((on_one_grid(taps) - self.mean[:, None, None]) / self.scale).clamp(-_CUT, _CUT)
        if self.training:
            x = x + _NOISE * torch.randn(x.shape, device=x.device)  # randn_like is slow in some memory formats
        x = F.gelu(self.first(x.contiguous(memory_format=torch.channels_last)))
        for stage in self.stages:
            side = min(2 * x.shape[-1], IMAGE_SIDE)
            x = F.gelu(stage(F.interpolate(x, size=(side, side), mode="bilinear")))
        if x.shape[-1] != IMAGE_SIDE:
            x = F.interpolate(x, size=(IMAGE_SIDE, IMAGE_SIDE), mode="bilinear")
        painted: Tensor = self.last(x).sigmoid()
        return painted


def on_one_grid(taps: Sequence[Tensor]) -> Tensor:
    """Taps of shape (B, C, h, w), resized to the grid of the finest tap and concatenated along the channels."""
    size = max(tap.shape[-1] for tap in taps)
    return torch.cat(
        [t if t.shape[-1] == size else F.interpolate(t, size=(size, size), mode="bilinear") for t in taps], dim=1
    )


def prepare_decoder(run: Run, detector: Detector, cache_dir: Path) -> None:
    """Train the decoder that a run will need, unless it exists or another process is training it.

    Call this before the fit. Fits that begin together end at about the same time; after them, one process would train
    the decoder while the others wait.

    Args:
        run: The run.
        detector: The run's detector, which need not be fitted.
        cache_dir: Directory of the cache, in which decoders are kept.
    """
    if run.features.strides and type(detector).rebuilt is not Detector.rebuilt:
        with suppress(Timeout):
            _decoder(run, cache_dir, torch.device(run.device), wait=False)


@torch.inference_mode()
def draw_rebuilt_images(run: Run, detector: Detector, cache_dir: Path) -> tuple[bytes, ...]:
    """Draw the pictures of what a detector rebuilds of the test images of a run, in the order of the run's scores.

    Args:
        run: The run.
        detector: The fitted detector.
        cache_dir: Directory of the cache, in which decoders are kept.

    Returns:
        JPEG bytes of one picture of 64 x 64 px per image; empty for detectors that rebuild nothing.
    """
    device = torch.device(run.device)
    bank, decoder = run.open_bank(), None
    pictures: list[bytes] = []
    for category in run.categories:
        test = bank.open(run.features, [category], "test", with_categories=run.told_category)
        for start in range(0, len(test), TEST_BATCH):
            rebuilt = detector.rebuilt(test.batch(range(start, min(start + TEST_BATCH, len(test)))))
            if rebuilt is None:
                return ()
            if run.features.strides and decoder is None:
                decoder = _decoder(run, cache_dir, device)
            if decoder is not None:
                painted = decoder(rebuilt)
            else:
                painted = F.interpolate(rebuilt[0], size=(IMAGE_SIDE, IMAGE_SIDE), mode="area")
            pictures += [_jpeg(one) for one in painted.clamp(0, 1).cpu()]
    return tuple(pictures)


def _jpeg(picture: Tensor) -> bytes:
    pixels = (255 * picture.permute(1, 2, 0)).round().to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _decoder(run: Run, cache_dir: Path, device: torch.device, *, wait: bool = True) -> ImageDecoder:
    """The decoder of the run's features, from the cache or trained now.

    Raises:
        Timeout: If another process is training it, and ``wait`` is false.
    """
    spec, index = run.features, run.index
    key = short_id(
        {
            "version": _VERSION,
            "features": repr(spec),
            "backbone": run.backbone_identity,
            "images": [index.fingerprint(category, "train") for category in index.categories],
        }
    )
    file = cache_dir / "looks" / f"{key}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file_lock(file.with_name(f"{file.name}.lock")).acquire(timeout=-1 if wait else 0),
        torch.inference_mode(mode=False),
    ):
        decoder = ImageDecoder(run.layout.total_channels)
        try:
            if file.exists() and read_description(file) != {"decoder": key}:
                raise CheckpointError(f"{file}: it is not the decoder of these features.")
            decoder.load_state_dict(read_state(file))
        except (OSError, ValueError, RuntimeError, SafetensorError, CheckpointError) as error:
            raise_machine_fault(error)
            if file.exists():
                warnings.warn(f"{file}: can't be used ({error}). It is made again.", stacklevel=2)
            decoder.to(device)
            _train(decoder, run, device)
            save_state(decoder.state_dict(), file, {"decoder": key})
    return decoder.to(device).eval()


def _train(decoder: ImageDecoder, run: Run, device: torch.device) -> None:
    """Train a decoder to paint the training images of all categories; equal features always give equal decoders."""
    index = run.index
    train = run.open_bank().open(run.features, index.categories, "train")
    pixels = [
        load_images(index.root, index.split("train", category), IMAGE_SIDE, bits=index.value_bits(category))
        for category in index.categories
    ]
    images = torch.from_numpy(np.concatenate(pixels)).permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for module in decoder.modules():  # the decoder was made before the seed was set
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        some = torch.randperm(len(train), generator=generator)[: 16 * _BATCH].tolist()
        known = on_one_grid(train.batch(some).features)
        decoder.mean.copy_(known.mean(dim=(0, 2, 3)))
        decoder.scale.copy_((known.to(device) - decoder.mean[:, None, None]).square().mean().sqrt().clamp_min(1e-6))
        optimiser = torch.optim.AdamW(decoder.parameters(), lr=_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_STEPS)
        for _ in range(_STEPS):
            rows = torch.randint(len(train), (min(_BATCH, len(train)),), generator=generator)
            batch: Batch = train.batch(rows.tolist())
            painted = decoder([tap.to(device) for tap in batch.features])
            loss = F.l1_loss(painted, images[rows].to(device).float() / 255)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
