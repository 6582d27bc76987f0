"""One array of the feature bank on disk. It is written in order, sealed by a manifest and checked before use.

The manifest is written last, so its presence means that the array is complete. It has the key of the array and a
digest, a BLAKE2b hash of the manifest's other entries and of the BLAKE2b hashes of every 4 MiB of the array. It detects
every change of the array, of the order of its values or pages, and of the manifest. The blocks are hashed in as many
threads as torch uses, and the result does not depend on their number. docs/reliability.md has the cost. An array that
an earlier version sealed with a sum of every page, which did not see the order of the values in a page, is computed
again.

Arrays are written as an ordinary stream: with a memory map, a full disk would kill the process.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.errors import StorageError
from datasets.storage.atomic import machine_fault, raise_machine_fault, written
from datasets.storage.locks import file_lock
from datasets.storage.ordinary_files import read_json, require_ordinary
from results.ids import canonical_json, short_id

_BLOCK = 4 << 20
_CURE = (
    "Free some space there, or choose another directory with CACHE_DIR=..., and start again; recorded runs are kept."
)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that excludes other processes.

    Raises:
        StorageError: If the lock's file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = file_lock(path)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        fault = machine_fault(error, _CURE) or StorageError(f"{path}: can't be locked ({error}). {_CURE}")
        raise fault from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class BankFile:
    """An array of the bank.

    Attributes:
        directory: Root of the bank.
        key: Everything that the array depends on; its hash names the files.
    """

    directory: Path
    key: dict[str, Any]

    @property
    def stem(self) -> str:
        """Name of the files, without extension."""
        return short_id(self.key)

    @property
    def array(self) -> Path:
        """The ``.npy`` file."""
        return self.directory / self.stem[:2] / f"{self.stem}.npy"

    @property
    def manifest(self) -> Path:
        """The manifest, a ``.json`` file."""
        return self.array.with_suffix(".json")

    def is_sound(self) -> bool:
        """Whether the array exists, is complete, was made under this key, and is undamaged.

        A file that exists but is not sound causes a warning; the caller makes it again.

        Raises:
            StorageError: If the machine opens no more files, or starts no more threads.
        """
        try:
            sealed = read_json(self.manifest)
            manifest = canonical_json(sealed)
            require_ordinary(self.array)
            stat = self.array.stat()
        except OSError as error:
            raise_machine_fault(error)
            return False  # the file does not exist yet
        except (ValueError, RecursionError) as error:
            fault = f"its manifest is damaged: {error}"
        else:
            fault = _foreign(sealed, self.key) or _fault(self.array, stat.st_size, stat.st_mtime_ns, manifest)
        if fault:
            warnings.warn(f"{self.array}: {fault}. It is computed again.", stacklevel=2)
        return not fault

    def load(self) -> NDArray[Any]:
        """The array, memory-mapped."""
        array: NDArray[Any] = np.load(self.array, mmap_mode="r", allow_pickle=False)
        return array

    def seconds(self) -> float:
        """Duration of the pass that made the array, in seconds."""
        return float(read_json(self.manifest)["seconds"])

    @contextmanager
    def writing(self, shape: tuple[int, ...], dtype: str) -> Iterator[BinaryIO]:
        """A stream to which the rows are written in order. When the block ends, the array is in place but not sealed.

        Raises:
            StorageError: If the array can't be written.
        """
        with written(self.array, _CURE) as partial, partial.open("wb") as stream:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            yield stream

    def seal(self, seconds: float) -> None:
        """Write the manifest.

        Args:
            seconds: Duration of the pass that made the array.

        Raises:
            StorageError: If the manifest can't be written.
        """
        entries = {"shape": list(self.load().shape), "seconds": seconds, "key": self.key}
        with written(self.manifest, _CURE) as partial:
            partial.write_text(json.dumps(entries | {"digest": array_digest(self.array, entries)}))


def array_digest(path: Path, entries: Mapping[str, Any]) -> str:
    """Digest of the content of a file together with JSON values, as described in the module's docstring."""
    digest = hashlib.blake2b(canonical_json(entries).encode(), digest_size=32)

    def block(start: int) -> bytes:
        with path.open("rb") as file:  # not a memory map, with which the error of a bad disk would end the process
            file.seek(start)
            return hashlib.blake2b(file.read(_BLOCK)).digest()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for part in pool.map(block, range(0, path.stat().st_size, _BLOCK)):
            digest.update(part)
    return digest.hexdigest()


def _foreign(sealed: Any, key: dict[str, Any]) -> str:
    """Why a manifest is not one of an array with this key; empty if it is."""
    if not isinstance(sealed, dict) or "key" not in sealed:
        return "its manifest is damaged: it has no key"
    if canonical_json(sealed["key"]) != canonical_json(key):
        return "made under another key"
    if "digest" not in sealed:
        return "its manifest has no digest (an earlier version wrote it)"
    return ""


@lru_cache(maxsize=100_000)
def _fault(path: Path, _size: int, _mtime_ns: int, manifest: str) -> str:
    """Description of the damage of an array; empty if there is none. An unchanged file is read once per process."""
    entries = json.loads(manifest)
    sealed = entries.pop("digest")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False).shape
        if list(found) != entries.get("shape"):
            return f"damaged: it has the shape {found} instead of {entries.get('shape')}"
        same = array_digest(path, entries) == sealed
    except Exception as error:  # a damaged header makes numpy raise nearly anything
        raise_machine_fault(error)
        return f"damaged: {error}"
    return "" if same else "damaged: its digest is not the one that it was sealed with"
