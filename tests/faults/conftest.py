"""Small disks that can run full."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A file system of its own, in memory, that can run full and be made read-only.

    Args:
        place: Where it is mounted.
        size: Its size in KiB.
    """

    def __init__(self, place: Path, size: int) -> None:
        self.place = place
        place.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("no file system can be mounted here, so no disk can be filled")

    def fill(self, leave: int = 0) -> None:
        """Fill it up, except for this many KiB."""
        block = b"x" * 1024
        ballast = self.place / "ballast"
        with ballast.open("ab", buffering=0) as file:
            try:
                while file.write(block) == len(block):
                    pass
            except OSError:
                pass
            file.truncate(max(0, file.tell() - 1024 * leave))

    def clear(self) -> None:
        """Make room again."""
        (self.place / "ballast").unlink()

    def read_only(self) -> None:
        """Mount it read-only."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)

    def files(self) -> set[str]:
        """The files on it, except ballast and locks."""
        found = (path.relative_to(self.place).as_posix() for path in self.place.rglob("*") if path.is_file())
        return {name for name in found if name != "ballast" and not name.endswith(".lock")}


@pytest.fixture
def small_disk() -> Iterator[Callable[..., SmallDisk]]:
    """Mounts small disks; skips the test if that is not permitted."""
    disks: list[SmallDisk] = []

    def mount(place: Path, size: int = 512) -> SmallDisk:
        disks.append(SmallDisk(place, size))
        return disks[-1]

    yield mount
    for disk in disks:
        subprocess.run(["umount", "--lazy", str(disk.place)], check=False)
