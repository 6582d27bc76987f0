"""The errors of files that should be JSON and are not."""

from __future__ import annotations

import pytest

from datasets.storage.ordinary_files import parse_json, read_json


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x02", "it is not JSON, because it is not text"),
        (b'{"a": 1', r"it is not JSON \(.*line 1 column 8.*\)"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_not_json_is_called_so(content, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_json(content)


def test_what_is_json_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, null]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}
