"""Files that no reader expects: pipes, JSON nested too deeply, huge numbers, and files that unpack to a great deal."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.dispatch.claims import Claim, Claims
from bench.errors import EXIT_USER_ERROR
from bench.execution.kept_fits import restore
from bench.plan.configuration import configure
from bench.plan.weights_and_textures import textures_id
from datasets.download.archive import Archive
from datasets.download.obtain import MANIFEST, read_manifest
from datasets.errors import DatasetError
from datasets.real_iad import _read as read_list
from datasets.samples.array_rows import array_row
from datasets.samples.fingerprint import file_digest
from datasets.samples.images import decode, image_size, mask_values
from datasets.samples.value_range import bits_in_use, in_eight_bits
from datasets.storage.processes import is_running
from datasets.storage.temporary_files import sweep
from datasets.synthetic import MANIFEST as RECIPE
from datasets.synthetic import stored_recipe
from methods.checkpoints.checkpoint import open_checkpoint
from methods.errors import CheckpointError, ConfigError
from methods.features.bank_file import BankFile
from methods.uniad.detector import UniAD
from results.errors import RecordError
from results.records.merge import merge
from results.records.method_card import read_card
from results.records.record import RunRecord, sealed
from results.records.run_files import npz, read_record
from results.records.store import Store
from results.records.thumbnails import Pictures, read_pictures, write_pictures
from results.studies.study import StudyError, read_study
from tests.support.command_line import invoke
from tests.support.records import make_record, make_scores

DEEP = "[" * 100_000
HUGE = "9" * 5_000


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    """A reader that waits for a pipe fails its test after some seconds."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def at_most(mebibytes: int) -> Iterator[None]:
    """Fail if Python and numpy together allocate more than this within the context."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mebibytes << 20
    finally:
        tracemalloc.stop()


READERS: dict[str, tuple[Callable[[Path], Any], type[Exception] | None]] = {
    "a.png": (lambda file: decode(file.parent, file.name), DatasetError),
    "size.png": (lambda file: image_size(file.parent, file.name), DatasetError),
    "mask.png": (lambda file: mask_values(file.parent, file.name), DatasetError),
    "deep.png": (lambda file: bits_in_use(file.parent, [file.name]), None),
    "rows.npy": (lambda file: array_row(file.parent, file.name, 0), DatasetError),
    "digest": (file_digest, DatasetError),
    "list.json": (read_list, DatasetError),
    "seed0-0123.json": (read_record, RecordError),
    "card.json": (read_card, RecordError),
    "study.toml": (read_study, StudyError),
    "texture.png": (lambda file: textures_id(file.parent), None),
    MANIFEST: (lambda file: read_manifest(file.parent), None),
    RECIPE: (lambda file: stored_recipe(file.parent), None),
}
"""Name of the file, a function that reads it, and the error that names it; None if it counts as absent."""


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_an_error_and_is_not_waited_for(tmp_path, name):
    read, error = READERS[name]
    os.mkfifo(tmp_path / name)
    if error is None:
        read(tmp_path / name)
    else:
        with pytest.raises(error, match=rf"{re.escape(str(tmp_path / name))}: .*not an ordinary file"):
            read(tmp_path / name)


def test_pipes_in_a_store_are_named_and_the_rest_is_read(tmp_path):
    store = Store(tmp_path)
    record, other = make_record(seed=0), make_record(seed=1)
    store.write(record, make_scores(record))
    path = store.write(other, make_scores(other))
    scores = path.with_suffix(".scores.npz")
    scores.unlink()
    os.mkfifo(scores)
    os.mkfifo(path.with_name("seed2-0123.json"))
    (tmp_path / "toy" / "pictures").mkdir()
    os.mkfifo(tmp_path / "toy" / "pictures" / "bolt.npz")
    assert [found.seed for found in store.records()] == [0, 1]
    assert [place.name for place, _ in store.problems] == ["seed2-0123.json"]
    with pytest.raises(RecordError, match="not an ordinary file"):
        store.scores(other)
    assert read_pictures(store, "toy", "bolt") is None
    with pytest.warns(UserWarning, match="kept as"):
        store.write(other, make_scores(other))
    assert store.scores(read_record(path)).own.size
    (tmp_path / ".claims").mkdir()
    os.mkfifo(tmp_path / ".claims" / "0123.1")
    os.utime(tmp_path / ".claims" / "0123.1", (0, 0))
    assert isinstance(Claims(tmp_path, "mine").take("0123"), Claim)


@pytest.mark.parametrize("content", [DEEP, HUGE, f'{{"files": {{"a": {HUGE}}}}}', '{"files": {"a": 1e999}}', "[1]"])
@pytest.mark.parametrize("name", ["list.json", "seed0-0123.json", "card.json", "study.toml", MANIFEST, RECIPE])
def test_json_that_is_nested_too_deeply_and_huge_numbers_are_errors_like_any_other(tmp_path, name, content):
    read, error = READERS[name]
    (tmp_path / name).write_text(f"a = {content}" if name.endswith(".toml") else content)
    if error is None:
        assert read(tmp_path / name) is None
    else:
        with pytest.raises(error, match=re.escape(str(tmp_path / name))):
            read(tmp_path / name)


def test_a_manifest_with_huge_numbers_counts_as_none_for_its_archive_too(tmp_path):
    archive = Archive(file="a.zip", url="", instructions="", unpacked_limit=1)
    (tmp_path / MANIFEST).write_text(f'{{"archive": "a.zip", "files": {{"a": {HUGE}}}}}')
    assert read_manifest(tmp_path, archive) is None


def test_the_manifest_of_a_bank_file_and_of_a_kept_state_may_hold_anything(tmp_path):
    file = BankFile(tmp_path, {"of": "a test"})
    with file.writing((2, 3), "float32") as stream:
        stream.write(np.zeros((2, 3), np.float32).tobytes())
    for content in (DEEP, HUGE):
        file.manifest.write_text(content)
        with pytest.warns(UserWarning, match="its manifest is damaged"):
            assert not file.is_sound()
        (tmp_path / "state.json").write_text(content)
        (tmp_path / "state.safetensors").write_bytes(b"")
        with pytest.warns(UserWarning, match="can't be used"):
            assert restore(tmp_path / "state.safetensors", object(), torch.device("cpu"), "0123") is None


@pytest.mark.parametrize(
    "header",
    [
        DEEP,
        HUGE,
        '{"method": "uniad", "version": Infinity}',
        '{"method": "uniad", "version": "two"}',
        '{"method": "uniad", "version": 1, "config": {}, "layout": {"grids": ' + "[" * 900 + "]" * 900 + "}}",
    ],
)
def test_the_header_of_a_checkpoint_may_hold_anything(tmp_path, header):
    file = tmp_path / "detector.safetensors"
    save_file({"weight": torch.zeros(2)}, file, metadata={"uniboard": header})
    with pytest.raises(CheckpointError, match=re.escape(str(file))):
        open_checkpoint(file, "", (), lambda cls: {})


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (("seed",), 10**30),
        (("budget", "steps"), 10**400),
        (("cost", "parameters"), -1),
        (("protocol", "pro_limit"), "a third"),
        (("protocol", "pro_limit"), 10**400),
    ],
)
def test_a_record_with_a_number_that_can_not_be_computed_with_is_left_out(tmp_path, entry, value):
    store = Store(tmp_path)
    path = store.write(make_record(steps=10))
    content = json.loads(path.read_bytes())
    content.pop("digest")
    place = content
    for name in entry[:-1]:
        place = place[name]
    place[entry[-1]] = value
    path.write_bytes(sealed(json.dumps(content, indent=1)))
    assert store.records() == []
    assert len(store.problems) == 1


def test_a_huge_process_number_in_the_name_of_a_file_is_no_process(tmp_path, dead_writer):
    torn = dead_writer(tmp_path / "bank.npy", process=10**30)
    torn.write_bytes(b"x")
    assert not is_running(10**30, "1")
    assert sweep([tmp_path]) == [torn]


def bomb(record: RunRecord) -> bytes:
    """A file of scores of 60 kB with 60 MiB of zeros in it."""
    scores = make_scores(record)
    columns = {
        field.name: getattr(scores, field.name) for field in dataclasses.fields(scores) if field.name != "curves"
    }
    return npz({**columns, "curve/bolt/pro": np.zeros((2, 30 << 17))})


def test_scores_that_unpack_to_more_than_the_record_can_have_are_refused(tmp_path):
    mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
    record = make_record()
    path = theirs.write(record, make_scores(record))
    content = bomb(record)
    assert len(content) < 200_000
    path.with_suffix(".scores.npz").write_bytes(content)
    path.write_bytes(sealed(record.model_copy(update={"arrays": {}}).model_dump_json(indent=1)))
    with at_most(16), pytest.raises(RecordError, match="would unpack to 60 MiB"):
        theirs.scores(theirs.records()[0])
    assert "would unpack" in theirs.damaged_arrays(theirs.records()[0])[1]
    with at_most(16):
        (unreadable,) = merge(theirs.root, mine).unreadable
    assert "would unpack" in unreadable[1]


def test_pictures_that_unpack_to_too_much_are_none_and_are_not_merged(tmp_path):
    mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
    theirs.write(make_record())
    pictures = Pictures("print", ("a", "b"), ("good", "good"), (b"jpeg", b"jpeg"), np.zeros((2, 128, 128), bool))
    write_pictures(theirs, "toy", "sound", pictures)
    (whole,) = (theirs.root / "toy" / "pictures").iterdir()
    zeros = npz({"fingerprint": np.array("x"), "masks": np.zeros((60, 1 << 20), np.uint8)})
    whole.with_name("bomb.npz").write_bytes(zeros)
    whole.with_name("cut.npz").write_bytes(whole.read_bytes()[:-40])
    whole.with_name("other.npz").write_bytes(npz({"maps": np.zeros(3)}))
    with np.load(whole) as archive:
        fewer = {name: archive[name][:1] if name == "masks" else archive[name] for name in archive.files}
    whole.with_name("fewer.npz").write_bytes(npz(fewer))
    with at_most(32):
        assert read_pictures(theirs, "toy", "bomb") is None
        done = merge(theirs.root, mine)
    assert [name for name, _ in done.unreadable] == [
        f"toy/pictures/{name}.npz" for name in ("bomb", "cut", "fewer", "other")
    ]
    assert [file.name for file in (mine.root / "toy" / "pictures").iterdir()] == [whole.name]
    assert read_pictures(mine, "toy", "sound").paths == pictures.paths


def tiled_tiff(side: int) -> bytes:
    """A TIFF image of 32x32 pixels, in one tile of this side; its pixels are left out."""
    tags = [
        (256, 32),
        (257, 32),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, side),
        (323, side),
        (324, 200),
        (325, 9),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(200, b"\0") + zlib.compress(bytes(64))


def claimed_png(width: int, height: int, depth: int, kind: int) -> bytes:
    """A PNG image whose header claims a size; its pixels are left out."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(64))),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return content


@pytest.mark.parametrize(
    "content",
    [tiled_tiff(30_000), claimed_png(9_000, 9_000, 16, 6), claimed_png(12_000, 12_000, 8, 6)],
    ids=["a small TIFF in a huge tile", "16 bits of four channels", "8 bits of four channels"],
)
@pytest.mark.parametrize("read", [decode, mask_values, image_size])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_would_take_too_much_memory_is_refused_by_its_header(tmp_path, content, read, monkeypatch):
    monkeypatch.setattr(Image.core, "new", None)  # Pillow would reserve the memory of the pixels
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"implausible number of pixels .*at most 512 MiB are.*cut it into tiles"):
        read(tmp_path, "a.png")


def test_large_images_of_8_bits_are_not_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(claimed_png(8_000, 11_000, 8, 2))
    assert image_size(tmp_path, "a.png") == (11_000, 8_000)
    (tmp_path / "b.tif").write_bytes(tiled_tiff(64))
    assert image_size(tmp_path, "b.tif") == (32, 32)


def test_a_huge_row_of_an_array_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1, 20_000, 20_000, 3)}
    )
    with (tmp_path / "rows.npy").open("wb") as file:  # without blocks: it takes no space on the disk
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + 1_200_000_000)
    with pytest.raises(DatasetError, match=r"rows have the shape .20000, 20000, 3.*cut them into tiles"):
        decode(tmp_path, "rows.npy#0")


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_values_are_scaled_as_the_formula_says(bits, kind):
    values = np.arange(1 << 16, dtype=kind).reshape(256, -1)
    white = (1 << bits) - 1
    literal = [[(min(int(value), white) * 255 + white // 2) // white for value in row] for row in values]
    assert np.array_equal(in_eight_bits(values, bits), np.array(literal, np.uint8))


@pytest.mark.parametrize("value", [10**30, 10**400, HUGE, 2**31])
def test_the_fields_of_methods_have_bounds(value):
    with pytest.raises(ConfigError, match=r"uniad\.steps=") as caught:
        configure(UniAD, "quick", {"steps": str(value)})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("option", ["--jobs", "--threads", "--curves", "--mask-threshold"])
def test_numbers_of_the_command_line_have_bounds(option):
    result = invoke("run", option, str(10**30))
    assert result.exit_code == EXIT_USER_ERROR
    assert "less than or equal to" in result.output
