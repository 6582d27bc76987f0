import numpy as np
import pytest

from datasets.errors import DatasetError
from datasets.samples.array_rows import array_row, split_row


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.npy#17", ("a/b.npy", 17)),
        ("b.npy#00017", ("b.npy", 17)),
        ("b.npy", ("b.npy", None)),
        ("b.png#17", ("b.png#17", None)),
        ("b.npy#x", ("b.npy#x", None)),
        ("b.npy#1/c#2.png", ("b.npy#1/c#2.png", None)),
    ],
)
def test_only_a_number_after_an_array_file_is_a_row(path, expected):
    assert split_row(path) == expected


def test_a_row_is_mapped_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12).reshape(4, 3))
    row = array_row(tmp_path, "a.npy", 2)
    assert row.tolist() == [6, 7, 8]
    assert isinstance(row.base, np.memmap)
    assert not row.flags.writeable


def test_a_rewritten_array_is_mapped_again(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    assert array_row(tmp_path, "a.npy", 0).tolist() == [0, 0, 0]
    np.save(tmp_path / "b.npy", np.ones((5, 3)))
    (tmp_path / "b.npy").replace(tmp_path / "a.npy")
    assert array_row(tmp_path, "a.npy", 4).tolist() == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_array_is_named(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.npy: not a readable array"):
        array_row(tmp_path, "a.npy", 0)


def test_a_truncated_array_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 3)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"a\.npy: not a readable array"):
        array_row(tmp_path, "a.npy", 0)


def test_a_missing_array_and_a_missing_row_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.npy"):
        array_row(tmp_path, "gone.npy", 0)
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    with pytest.raises(DatasetError, match=r"a\.npy: row 4 .* \(4, 3\)"):
        array_row(tmp_path, "a.npy", 4)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"a\.npy: not a readable array"):
        array_row(tmp_path, "a.npy", 0)
