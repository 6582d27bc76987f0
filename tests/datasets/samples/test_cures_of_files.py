"""Every cure that a message about a single file prints is tried: after it, the file is read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import cifar10
from datasets.cifar10 import build_cifar10
from datasets.download.archive import Archive
from datasets.download.obtain import obtain
from datasets.errors import DatasetError
from datasets.index.open_dataset import open_dataset
from datasets.samples import array_rows, image_file
from datasets.samples.images import decode, load_mask
from datasets.samples.sample import Sample
from datasets.storage.atomic import unwritable, written
from tests.support.archives import member, write_tar
from tests.support.miniature import write_miniature_cifar10, write_miniature_folder

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
NOBODY = 65534


def save(file: Path, pixels: np.ndarray) -> None:
    file.unlink(missing_ok=True)
    Image.fromarray(pixels).save(file)


def a_picture(file: Path) -> None:
    save(file, PIXELS)


def in_tiles(file: Path) -> None:
    save(file, PIXELS[:12])


def array_of(*shape: int) -> Callable[[Path], None]:
    return lambda file: np.save(file, np.zeros(shape, np.uint8))


def without(file: Path) -> None:
    """Remove the file: whoever made it makes it again, here without it."""
    file.unlink()
    np.save(file, PIXELS[None])


FAULTS = {
    "a pointer of Git LFS": (
        "a.png",
        lambda file: file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
        "Run 'git lfs pull' in the repository that it came from.",
        a_picture,  # this is what the command does
    ),
    "an empty file": ("a.png", lambda file: file.write_bytes(b""), "put a sound copy in its place", a_picture),
    "no image": ("a.png", lambda file: file.write_bytes(b"<html>"), "put a sound copy in its place", a_picture),
    "half of an image": (
        "a.png",
        lambda file: [save(file, PIXELS), os.truncate(file, file.stat().st_size // 2)],
        "put a sound copy in its place",
        a_picture,
    ),
    "floating-point pixels": (
        "a.tif",
        lambda file: save(file, PIXELS[..., 0] / np.float32(255)),
        "Save it with 8 bits per channel, or 16 bits for greyscale.",
        a_picture,
    ),
    "32-bit greyscale": (
        "a.tif",
        lambda file: save(file, PIXELS[..., 0].astype(np.int32) * 1000),
        "Save it with 8 bits per channel, or 16 bits for greyscale.",
        lambda file: save(file, PIXELS[..., 0].astype(np.uint16) * 257),
    ),
    "more pixels than are decoded": ("a.png", a_picture, "cut it into tiles", in_tiles),
    "no array": (
        "a.npy#0", lambda file: file.write_bytes(b"no array"), "Delete it and build or fetch it again.", without,
    ),
    "an array without the row": ("a.npy#7", array_of(3, 24, 40, 3), "Delete it and build or fetch it again.",
        lambda file: [file.unlink(), array_of(8, 24, 40, 3)(file)]),
    "an array of other rows": ("a.npy#0", array_of(3, 24, 40), "Write the array in that form.", array_of(3, 24, 40, 3)),
    "an array of huge rows": ("a.npy#0", array_of(1, 24, 40, 3), "cut them into tiles", array_of(2, 12, 40, 3)),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_is_read_after_its_cure(tmp_path, monkeypatch, fault):
    path, spoil, cure, heal = FAULTS[fault]
    file = tmp_path / path.partition("#")[0]
    if "tiles" in cure:
        monkeypatch.setattr(image_file, "MOST_BYTES", 2000)
        monkeypatch.setattr(array_rows, "MOST_BYTES", 2000)
    spoil(file)
    with pytest.raises(DatasetError) as caught:
        decode(tmp_path, path)
    assert str(file) in str(caught.value)
    assert cure in str(caught.value)
    heal(file)
    assert decode(tmp_path, path).size[0] == 40


@pytest.mark.parametrize(
    ("size", "cure"), [((20, 20), "in the size of the upright image"), (None, "in the size of the image")]
)
def test_a_mask_is_read_after_it_was_written_in_the_size_of_its_image(tmp_path, size, cure):
    save(tmp_path / "a.png", PIXELS)
    save(tmp_path / "m.png", np.zeros(size or (24, 40), np.uint8))
    save(tmp_path / "n.png", np.zeros(size or (12, 20), np.uint8))
    sample = Sample("bolt", "test", "a.png", "scratch", ("m.png", "n.png"))
    with pytest.raises(DatasetError, match=cure):
        load_mask(tmp_path, sample)
    for name in sample.masks:
        save(tmp_path / name, np.full((24, 40), 255, np.uint8))
    assert load_mask(tmp_path, sample).all()


# Permissions


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path every user may follow."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@contextlib.contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Within this context the process has no rights of a superuser, for whom permissions have no effect."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("path", ["bolt/test", "bolt", "bolt/train/good", ""])
@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_directory_is_read_after_its_permissions_were_set(place, path, mode):
    root = write_miniature_folder(place / "set", categories=("bolt",))
    open_dataset("folder", place, root)  # imports what it needs, which an ordinary user may have no right to read
    (root / path).chmod(mode)
    with (
        as_an_ordinary_user(),
        pytest.raises(DatasetError, match=r"Check the (path|disk) and its permissions\.") as caught,
    ):
        open_dataset("folder", place, root)
    assert str(root / path) in str(caught.value)
    (root / path).chmod(0o755)
    with as_an_ordinary_user():
        assert len(open_dataset("folder", place, root).samples) == 10


def test_an_archive_is_read_after_its_permissions_were_set(place):
    (place / "set").mkdir()
    (place / "set").chmod(0o777)
    packed = write_tar(place / "set/set.tar", member("candle/a.png", b"image"))
    packed.chmod(0o000)
    archive = Archive(file="set.tar", sha256="", unpacked_limit=1 << 20, instructions="", url="")
    with as_an_ordinary_user(), pytest.raises(DatasetError, match=r"set\.tar: can't be read .*Check its permissions\."):
        obtain(archive, place / "set")
    packed.chmod(0o644)
    with as_an_ordinary_user():
        obtain(archive, place / "set")
        assert (place / "set/candle/a.png").read_bytes() == b"image"


@pytest.mark.parametrize("path", ["a.png", "a.npy#0"])
def test_an_image_is_read_after_its_permissions_were_set(place, path):
    file = place / path.partition("#")[0]
    np.save(file, PIXELS[None]) if "#" in path else save(file, PIXELS)
    file.chmod(0o000)
    with as_an_ordinary_user(), pytest.raises(DatasetError) as caught:
        decode(place, path)
    assert str(caught.value) == f"{file}: can't be read (Permission denied). Check its permissions."
    file.chmod(0o644)
    with as_an_ordinary_user():
        assert decode(place, path).size == (40, 24)


def test_the_array_of_cifar10_is_written_after_one_directory_was_made_writable(tmp_path, monkeypatch):
    root = write_miniature_cifar10(tmp_path / "set")
    monkeypatch.setattr(cifar10.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    locked = {root, tmp_path / "cache"}

    def refuse(file: Path, cure: str):
        if locked.intersection(file.parents):
            raise unwritable(file, PermissionError(13, "Permission denied"), cure)
        return written(file, cure)

    monkeypatch.setattr(cifar10, "written", refuse)
    with pytest.raises(DatasetError, match="Make one of these directories writable") as caught:
        build_cifar10(root, "01234")
    for directory in sorted(locked):
        assert str(directory) in str(caught.value)
        with monkeypatch.context() as patch:
            patch.setattr(
                cifar10,
                "written",
                lambda file, cure, own=directory: (
                    refuse(file, cure) if own not in file.parents else written(file, cure)
                ),
            )
            index = build_cifar10(root, "01234")
        assert directory in {index.root, *index.root.parents}
        (index.root / cifar10.ARRAY).unlink()
