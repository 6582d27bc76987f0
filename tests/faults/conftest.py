"""The small benchmark of ``tests/bench``, to be run on bad disks and with bad input."""

from tests.bench.conftest import cache, folder, options

__all__ = ["cache", "folder", "options"]
