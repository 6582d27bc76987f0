"""10,000 images decoded and resized to 256, against a torch data loader with torchvision and Pillow; read again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from datasets.samples.images import load_images
from datasets.samples.sample import DatasetIndex, Sample
from methods.backbones.backbone import NO_BACKBONE, NoBackbone
from methods.feature_spec import FeatureSpec
from methods.features.bank import BankSettings, FeatureBank
from tests.performance.row import Outcome, Row
from tests.performance.stopwatch import in_turns, seconds_of

FILES, TIMES, SIDE, SIZE, BATCH = 500, 20, 512, 256, 64
WORKERS = torch.get_num_threads()


class PillowFiles(Dataset[Tensor]):
    """A dataset as a user writes it with torchvision: open, convert, resize with antialiasing."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.resize = v2.Resize((SIZE, SIZE), antialias=True)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """(3, 256, 256) uint8."""
        with Image.open(self.files[index]) as image:
            return v2.functional.pil_to_tensor(self.resize(image.convert("RGB")))


def write_images(directory: Path) -> list[Sample]:
    """Photograph-like JPEG files: smooth colours and some grain."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(FILES):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = generator.integers(-8, 9, (SIDE, SIDE, 1), dtype=np.int16)
        name = f"{number:04d}.jpg"
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(directory / name, quality=92)
        samples.append(Sample("pictures", "train", name))
    return samples


def measure() -> Outcome:
    """Time both on the same files, then a second reading from the bank."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        samples = write_images(root)
        many = samples * TIMES
        files = [root / sample.path for sample in many]

        def ours() -> None:
            for start in range(0, len(many), BATCH):
                load_images(root, many[start : start + BATCH], SIZE, threads=WORKERS)

        def theirs() -> None:
            for _ in DataLoader(PillowFiles(files), batch_size=BATCH, num_workers=WORKERS):
                pass

        first = load_images(root, samples[:BATCH], SIZE)
        other = torch.stack([PillowFiles(files)[index] for index in range(BATCH)]).permute(0, 2, 3, 1).numpy()
        seconds = in_turns(ours, theirs, 1, warm=False)
        index = DatasetIndex("pictures", root, tuple(samples))
        bank = FeatureBank(index, NoBackbone, {"backbone": NO_BACKBONE.name}, BankSettings(root / "bank"))
        features = bank.open(FeatureSpec(SIZE, (), images=True), ["pictures"], "train")

        def again() -> None:
            for start in range(0, len(many), BATCH):
                features.batch([place % FILES for place in range(start, min(start + BATCH, len(many)))])

        cached = seconds_of(again)
    same = bool(np.array_equal(first, other))
    return Outcome(
        *seconds, 1, f"pixels {'equal' if same else 'differ'}", same, notes={"second time": f"{cached:.1f} s"}
    )


ROWS = (
    Row(
        "decoding",
        f"10,000 images decoded and resized to 256 ({FILES} JPEG files of 512x512, {TIMES} times each)",
        "torch's DataLoader with torchvision and Pillow, as many workers",
        measure,
        at_least=1,
    ),
)
