"""A small archive and its description."""

from __future__ import annotations

import hashlib

import pytest

from datasets.download.archive import Archive
from tests.support.archives import member, write_tar

FILES = {"candle/a.png": b"image", "candle/deep/b.png": b"another image", "readme.txt": b""}


@pytest.fixture
def packed(tmp_path):
    return write_tar(tmp_path / "packed.tar", *(member(name, content) for name, content in FILES.items()))


@pytest.fixture
def archive(packed):
    return Archive(
        file="set.tar",
        sha256=hashlib.sha256(packed.read_bytes()).hexdigest(),
        unpacked_limit=1000,
        instructions="Ask for it.",
        url="https://example.org/set.tar",
    )
