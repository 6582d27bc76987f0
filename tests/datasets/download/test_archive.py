"""Archives: their checksums, sizes and addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datasets.download.archive import check_file
from datasets.errors import DatasetError
from datasets.index.registry import known_data


def test_a_wrong_size_is_noticed_before_the_checksum(tmp_path, packed, archive):
    packed.rename(tmp_path / "set.tar")
    with pytest.raises(DatasetError, match=r"set\.tar: not the expected file \([\d,]+ bytes, expected 12,345,678\)"):
        check_file(replace(archive, size=12_345_678, sha256="0" * 64), tmp_path / "set.tar")


def test_nothing_is_fetched_without_a_checksum(archive):
    with pytest.raises(ValueError, match="needs a checksum"):
        replace(archive, sha256="")


def test_downloads_have_https_addresses_and_real_checksums():
    archives = {name: info.archive for name, info in known_data().items() if info.archive}
    for archive in archives.values():
        assert archive.url == "" or archive.url.startswith("https://")
        assert len(bytes.fromhex(archive.sha256)) in {0, 32}
        assert len(bytes.fromhex(archive.md5)) in {0, 16}
        assert archive.checksum or not archive.source, "what is downloaded is verified"
    assert {"visa", "btad", "dtd"} <= {name for name, archive in archives.items() if archive.url}
