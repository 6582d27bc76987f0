"""CIFAR-10 in the protocol of UniAD (You et al., NeurIPS 2022): five classes together are "normal".

There are four tasks, each a separate dataset. A task is trained on all training images of its five normal classes and
tested on all 10,000 test images, of which those of the other five classes are anomalous. It has one category, because
the protocol reports one image AUROC over all classes, and the image score is the mean of the anomaly map. The published
code enlarges 32 to 224 pixels by Lanczos; here every dataset is resized by the same bilinear filter.

The batches are read once and written, as one array, to ``uniboard-cifar10.npy`` next to them, or to the user's cache
directory if that is impossible. Samples are rows of the array.

The batches are pickles, and a pickle can make its reader call any function. So they are read as untrusted files:
``read_batch`` accepts plain containers, numbers, strings and a numpy array of bytes. Anything else is an error, and no
name in a file is ever imported or called.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from numpy.typing import NDArray

from datasets.download.archive import Archive, check_file
from datasets.download.obtain import MANIFEST
from datasets.errors import DatasetError, StorageError
from datasets.index.registry import DatasetInfo, register
from datasets.index.unread import Kind, UnreadFiles, entries_below, is_image
from datasets.samples.findings import Severity, Unread
from datasets.samples.sample import GOOD, DatasetIndex, Sample
from datasets.storage.atomic import raise_machine_fault, written

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TASKS = ("01234", "56789", "02468", "13579")
"""Numbers of the normal classes, in the order of UniAD's table."""

ARRAY = "uniboard-cifar10.npy"
LABELS = "uniboard-cifar10-labels.npz"

_DIRECTORY = "cifar-10-batches-py"
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_BATCHES = (*_TRAIN, "test_batch")
_NOT_NEEDED = frozenset({"batches.meta", "readme.html"})
_AGAIN = "Move it away, then make data DATASET=cifar10 restores it."
_BATCH_LIMIT = 64 * 2**20  # bytes; a batch of 10,000 images has 31 MB

ARCHIVE = Archive(
    file="cifar-10-python.tar.gz",
    # The publisher states the MD5 c58f30108f718f92721af3b95e74349a; this is the same file's sha256.
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    unpacked_limit=512 * 2**20,
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    instructions=(
        f"CIFAR-10 (170 MB) is fetched on request by the download command. Or put cifar-10-python.tar.gz, or "
        f"the directory {_DIRECTORY} that is in it, into this directory."
    ),
)


def build_cifar10(root: Path, task: str) -> DatasetIndex:
    """Build the index of one task.

    Args:
        root: Directory that holds ``cifar-10-batches-py`` or the archive, or ``cifar-10-batches-py`` itself.
        task: Numbers of the normal classes, e.g. ``01234``.

    Returns:
        The index. Its ``root`` is the directory of the array file.

    Raises:
        DatasetError: If the batches are missing or damaged.
    """
    source, state = _source(root)
    home, labels, trained = _arrays(root, source, state)
    normal = {int(number) for number in task}
    samples = []
    for row, label in enumerate(labels.tolist()):
        path = f"{ARRAY}#{row:05d}"
        if row >= trained:
            samples.append(Sample(task, "test", path, GOOD if label in normal else CLASSES[label]))
        elif label in normal:
            samples.append(Sample(task, "train", path))
    return DatasetIndex(
        name=f"cifar10-{task}",
        root=home,
        samples=tuple(samples),
        has_masks=False,
        image_score="map_mean",
        settings=("unified",),
        unread=_unread(root, source),
    )


def _unread(root: Path, source: Path) -> tuple[Unread, ...]:
    """The files below the root that are not read. Their paths are relative to ``root``, wherever the array is."""
    home = source if source.is_dir() else source.parent
    known = {source, *(source / name for name in _BATCHES), home / ARRAY, home / LABELS, root / MANIFEST}
    unread = UnreadFiles(root)
    for entry, kind in entries_below(root):
        if entry in known:
            continue
        if kind is Kind.FILE and (entry.name in _NOT_NEEDED or entry == root / ARCHIVE.file):
            unread.add("", entry.parent, [entry], "a part of the download that is not needed", severity="remark")
        elif kind is Kind.FILE:
            severity: Severity = "warning" if is_image(entry) or not entry.suffix else "remark"
            cure = "For images of your own use the dataset 'folder'." if severity == "warning" else ""
            unread.add("", entry.parent, [entry], "only the six batches of CIFAR-10 are read", cure, severity)
        else:
            unread.add_other("", entry.parent, [(entry, kind)])
    return unread.found()


def _arrays(root: Path, source: Path, state: str) -> tuple[Path, NDArray[np.uint8], int]:
    """(directory of the array file, labels of its rows, number of training rows). Writes the array if necessary."""
    data_home = source if source.is_dir() else source.parent
    cache = (
        pooch.os_cache("uniboard") / f"cifar10-{hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:12]}"
    )
    for home in (data_home, cache):
        known = _known_labels(home, state)
        if known is not None:
            return home, *known
    batches = _read_batches(source)
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    trained = sum(len(labels) for _, labels in batches[:-1])
    refused = []
    for home in (data_home, cache):
        try:
            _write(home, images, labels, trained, state)
        except StorageError as error:
            refused.append(error)
        else:
            return home, labels, trained
    raise DatasetError(
        f"{root}: the array of all images could not be written. {''.join(map(str, refused))}"
        "Make one of these directories writable; 200 MB are needed."
    ) from refused[-1]


def _source(root: Path) -> tuple[Path, str]:
    """The directory of batches or the archive, and the sizes and times of its files, to detect changes."""
    for directory in (root / _DIRECTORY, root):
        if (directory / _BATCHES[-1]).is_file():
            missing = [name for name in _BATCHES if not (directory / name).is_file()]
            if missing:
                raise DatasetError(
                    f"{directory}: {', '.join(missing)} is missing. make data DATASET=cifar10 restores it."
                )
            return directory, _state([directory / name for name in _BATCHES])
    archive = root / ARCHIVE.file
    if archive.is_file():
        return archive, _state([archive])
    raise DatasetError(f"{root}: neither {_DIRECTORY} nor {ARCHIVE.file} is there. {ARCHIVE.instructions}")


def _state(files: list[Path]) -> str:
    stats = [(file.name, file.stat()) for file in files]
    return " ".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)


def _known_labels(home: Path, state: str) -> tuple[NDArray[np.uint8], int] | None:
    """(labels, number of training rows) of an array written earlier from the same files, or None."""
    try:
        with np.load(home / LABELS, allow_pickle=False) as known:
            labels, trained, source = known["labels"], int(known["trained"]), str(known["source"])
        shape = np.load(home / ARRAY, mmap_mode="r", allow_pickle=False).shape
    except Exception as error:  # missing, or damaged, which makes numpy raise nearly anything
        raise_machine_fault(error)
        return None
    return (labels, trained) if source == state and shape == (len(labels), 32, 32, 3) else None


def _read_batches(source: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    batches = []
    for name, content in zip(_BATCHES, _contents(source), strict=True):
        try:
            batches.append(read_batch(content))
        except ValueError as error:
            raise DatasetError(f"{source / name}: {error}. Nothing in it was executed. {_AGAIN}") from error
    return batches


def _contents(source: Path) -> list[bytes]:
    """Bytes of the six batch files, from a directory or from the archive."""
    try:
        if source.is_dir():
            sizes = {name: (source / name).stat().st_size for name in _BATCHES}
            _refuse_large(source, sizes)
            return [(source / name).read_bytes() for name in _BATCHES]
        check_file(ARCHIVE, source)
        with tarfile.open(source) as tar:
            members = [tar.getmember(f"{_DIRECTORY}/{name}") for name in _BATCHES]
            _refuse_large(source, {member.name: member.size for member in members})
            files = [tar.extractfile(member) for member in members]
            return [file.read() if file else b"" for file in files]
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise DatasetError(f"{source}: can't be read ({error}). {_AGAIN}") from error


def _refuse_large(source: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if size > _BATCH_LIMIT:
            raise DatasetError(f"{source / name}: has {size} bytes: too many. {_AGAIN}")


def _write(home: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8], trained: int, state: str) -> None:
    with written(home / ARRAY, cure="") as partial, partial.open("wb") as stream:
        np.save(stream, images)
    # Last: with the labels in place, the array is complete.
    with written(home / LABELS, cure="") as partial, partial.open("wb") as stream:
        np.savez(stream, labels=labels, trained=trained, source=state)


for _task in TASKS:
    register(
        DatasetInfo(
            name=f"cifar10-{_task}",
            title=f"CIFAR-10 ({', '.join(CLASSES[int(number)] for number in _task)} normal)",
            licence="not stated; for research",
            instructions=ARCHIVE.instructions,
            build=partial(build_cifar10, task=_task),
            counts={_task: (25000, 5000, 5000)},
            directory="cifar10",
            archive=ARCHIVE,
        )
    )

PIXELS = 3 * 32 * 32

_ARRAY_TYPE = "numpy.ndarray"  # a string, which can be passed on but not called


def _reconstruct(kind: object, _shape: object, _code: object) -> NDArray[np.uint8]:
    # numpy pickles an array as an empty one, created here, whose state is set afterwards.
    if kind != _ARRAY_TYPE:
        raise pickle.UnpicklingError(f"an array of the type {kind!r}")
    return np.empty(0, dtype=np.uint8)


def _dtype(name: object, *_flags: object) -> np.dtype[np.uint8]:
    if name not in {"u1", b"u1"}:
        raise pickle.UnpicklingError(f"numbers of the type {name!r} instead of bytes")
    return np.dtype(np.uint8)


_PERMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy", "dtype"): _dtype,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PERMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch of images needs")
        return _PERMITTED[module, name]


def read_batch(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one batch file.

    Args:
        content: Bytes of the file.

    Returns:
        Images ``(n, 32, 32, 3)`` uint8, RGB, and class numbers ``(n,)`` uint8, 0 to 9.

    Raises:
        ValueError: If it is not a batch of CIFAR-10. The message gives the reason. Nothing in it was executed.
    """
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
    # A damaged or hostile pickle makes the reader raise nearly anything.
    except Exception as error:
        raise ValueError(f"not a batch of images and labels: {error}") from error
    if not isinstance(batch, dict) or not isinstance(batch.get(b"labels"), list):
        raise ValueError("not a batch: data and labels are missing")
    pixels, labels = batch.get(b"data"), batch[b"labels"]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise ValueError("not a batch: data is not an array of bytes with one row per image")
    if pixels.shape[1] != PIXELS or len(pixels) != len(labels):
        raise ValueError(f"not a batch: data of the shape {pixels.shape} with {len(labels)} labels")
    if not all(isinstance(label, int) and 0 <= label < len(CLASSES) for label in labels):
        raise ValueError(f"not a batch: labels are not all between 0 and {len(CLASSES) - 1}")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.uint8)
