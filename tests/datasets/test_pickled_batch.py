import pickle

import numpy as np
import pytest

from datasets.pickled_batch import read_batch
from tests.miniature import pickled_as_python2

RNG = np.random.default_rng(0)
DATA = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
LABELS = [3, 9, 0, 3]


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "write", [pickled_as_python2, lambda batch: pickle.dumps(batch, protocol=4)], ids=["Python 2", "Python 3"]
)
def test_a_batch_is_read(write):
    images, labels = read_batch(write({b"data": DATA, b"labels": LABELS, b"batch_label": b"x"}))
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.tolist() == LABELS
    # Stored plane by plane: red, then green, then blue, each row by row.
    assert images[2, 5, 7].tolist() == [DATA[2, plane * 1024 + 5 * 32 + 7] for plane in range(3)]


def test_the_stand_in_looks_like_the_published_files():
    content = pickled_as_python2({b"data": DATA, b"labels": LABELS})
    assert content.startswith(b"\x80\x02")
    assert b"numpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content


@pytest.mark.parametrize(
    "hostile",
    [
        lambda file: Call(open, str(file), "w"),
        lambda file: Call(eval, f"open({str(file)!r}, 'w')"),
        lambda file: Call(np.save, str(file), np.zeros(1)),
        lambda file: Call(getattr, str, "join"),
    ],
    ids=["open", "eval", "numpy.save", "getattr"],
)
@pytest.mark.parametrize("place", ["whole", "value", "extra"])
def test_a_hostile_pickle_does_not_execute(tmp_path, hostile, place):
    file = tmp_path / "executed"
    call = hostile(file)
    batch = {
        "whole": call,
        "value": {b"data": call, b"labels": LABELS},
        "extra": {b"data": DATA, b"labels": LABELS, b"more": call},
    }[place]
    with pytest.raises(ValueError, match="it names"):
        read_batch(pickle.dumps(batch, protocol=2))
    assert not file.exists()


def test_the_hostile_pickle_would_execute_elsewhere(tmp_path):
    file = tmp_path / "executed"
    pickle.loads(pickle.dumps(Call(open, str(file), "w"))).close()  # noqa: S301 - that is the point
    assert file.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cnumpy\nndarray\n(I1000000000000\ntR.", "not callable"),
        (b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.", "numbers of the type b'O'"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(S'other'\n(I0\ntS'b'\ntR.",
            "an array of the type b'other'",
        ),
        (b"cnumpy.core.multiarray\nscalar\n.", "it names numpy.core.multiarray.scalar"),
        (b"cos\nsystem\n(S'true'\ntR.", "it names os.system"),
    ],
)
def test_permitted_names_can_not_be_misused(content, message):
    with pytest.raises(ValueError, match=message):
        read_batch(content)


@pytest.mark.parametrize("content", [b"", b"\x80", b"<html>", b"\x80\x02}q\x00U\x04data"])
def test_damaged_files_are_an_error(content):
    with pytest.raises(ValueError, match="not a batch"):
        read_batch(content)


def test_every_cut_of_a_batch_is_an_error():
    content = pickled_as_python2({b"data": DATA, b"labels": LABELS})
    for length in range(0, len(content) - 1, 501):
        with pytest.raises(ValueError, match="not a batch"):
            read_batch(content[:length])


@pytest.mark.parametrize(
    "batch",
    [
        [DATA, LABELS],
        {b"data": DATA},
        {b"labels": LABELS},
        {b"data": DATA.tolist(), b"labels": LABELS},
        {b"data": DATA[:, :-1].copy(), b"labels": LABELS},
        {b"data": DATA[0], b"labels": LABELS},
        {b"data": DATA, b"labels": LABELS[:-1]},
        {b"data": DATA, b"labels": [3, 9, 0, 10]},
        {b"data": DATA, b"labels": [3, 9, 0, -1]},
        {b"data": DATA, b"labels": [3, 9, 0, 1.0]},
        {b"data": DATA.astype(np.float64), b"labels": LABELS},
    ],
)
def test_other_contents_are_an_error(batch):
    with pytest.raises(ValueError, match="not a batch"):
        read_batch(pickled_as_python2(batch))
