"""What a reconstruction method takes for normal, as pictures: its rebuilt features, painted by a small decoder.

The decoder learns on training images alone to paint an image from its frozen features; one serves all runs that read
the same features of the same categories. It is a visualisation for the gallery and nothing is ever scored from it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from bench.execution.evaluation import TEST_BATCH
from bench.plan.runs import Run
from datasets.samples.images import load_images
from methods.checkpoints.state_file import read_state, save_state
from methods.detector import Batch, Detector
from results.ids import short_id

LOOK_SIDE = 64
_STEPS, _BATCH, _RATE = 250, 8, 3e-3
_NOISE, _CUT = 0.3, 4.0
_WIDTHS = (64, 48, 32, 16)
_QUALITY = 80
_VERSION = 1


class LookDecoder(nn.Module):
    """Frozen features to a picture: taps on one grid around their mean, then convolutions between doublings.

    One scale for all channels: each of its own would magnify the rebuilding error of the quiet ones. What lies beyond
    four times that scale is cut, since a decoder paints anything there.

    Args:
        channels: Of all taps together.
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
            x = x + _NOISE * torch.randn(x.shape, device=x.device)  # randn_like is slow in other memory formats
        x = F.gelu(self.first(x.contiguous(memory_format=torch.channels_last)))
        for stage in self.stages:
            side = min(2 * x.shape[-1], LOOK_SIDE)
            x = F.gelu(stage(F.interpolate(x, size=(side, side), mode="bilinear")))
        if x.shape[-1] != LOOK_SIDE:
            x = F.interpolate(x, size=(LOOK_SIDE, LOOK_SIDE), mode="bilinear")
        painted: Tensor = self.last(x).sigmoid()
        return painted


def on_one_grid(taps: Sequence[Tensor]) -> Tensor:
    """(B, C, h, w) of every tap, concatenated along channels on the finest tap's grid."""
    size = max(tap.shape[-1] for tap in taps)
    return torch.cat(
        [t if t.shape[-1] == size else F.interpolate(t, size=(size, size), mode="bilinear") for t in taps], dim=1
    )


def prepare_looks(run: Run, detector: Detector, cache_dir: Path) -> None:
    """Train the decoder that a run will need, unless it is kept or another process is training it.

    To be called before the fit: of fits that begin together, and so end together, one alone would train it afterwards
    while the others wait.

    Args:
        run: The run.
        detector: Not fitted yet.
        cache_dir: Where decoders are kept.
    """
    if run.features.strides and type(detector).rebuilt is not Detector.rebuilt:
        with suppress(Timeout):
            _decoder(run, cache_dir, torch.device(run.device), wait=False)


@torch.inference_mode()
def looks_of(run: Run, detector: Detector, cache_dir: Path) -> tuple[bytes, ...]:
    """Pictures of what the detector rebuilds of every test image of a run, in the order of its scores.

    Args:
        run: The run.
        detector: Fitted.
        cache_dir: Where decoders are kept.

    Returns:
        JPEG bytes, 64 px square; nothing for detectors that rebuild nothing.
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
                painted = F.interpolate(rebuilt[0], size=(LOOK_SIDE, LOOK_SIDE), mode="area")
            pictures += [_jpeg(one) for one in painted.clamp(0, 1).cpu()]
    return tuple(pictures)


def _jpeg(picture: Tensor) -> bytes:
    pixels = (255 * picture.permute(1, 2, 0)).round().to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _decoder(run: Run, cache_dir: Path, device: torch.device, *, wait: bool = True) -> LookDecoder:
    """The decoder of the run's features: kept from an earlier run, or trained now.

    Raises:
        Timeout: If another process is training it, and there is no wait.
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
    with FileLock(f"{file}.lock", timeout=-1 if wait else 0), torch.inference_mode(mode=False):
        decoder = LookDecoder(run.layout.total_channels)
        try:
            decoder.load_state_dict(read_state(file))
        except (OSError, RuntimeError, SafetensorError):
            decoder.to(device)
            _train(decoder, run, device)
            save_state(decoder.state_dict(), file)
    return decoder.to(device).eval()


def _train(decoder: LookDecoder, run: Run, device: torch.device) -> None:
    """Learn to paint the training images of all categories; the same features always give the same decoder."""
    index = run.index
    train = run.open_bank().open(run.features, index.categories, "train")
    samples = [sample for category in index.categories for sample in index.split("train", category)]
    images = torch.from_numpy(load_images(index.root, samples, LOOK_SIDE)).permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for module in decoder.modules():  # not only made: made after the seed was set
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
