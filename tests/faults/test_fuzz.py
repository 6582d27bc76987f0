"""Random directory trees and random bytes give a right result or an error written for users, never a traceback.

About a hundred cases in the suite, two thousand and more under the marker ``long``.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.errors import DatasetError, UniBoardError
from datasets.index.registry import DatasetInfo, find_dataset
from datasets.index.verify import verify_root
from datasets.samples.images import decode, decode_mask, image_size, load_image, load_mask
from methods.features.bank_file import BankFile
from results.errors import RecordError, ResultsError
from results.records.record import sealed
from results.records.run_files import read_record
from results.records.store import Store
from results.records.thumbnails import Pictures, read_pictures, write_pictures
from results.tables.formats import table
from tests.support.miniature import write_miniature_folder
from tests.support.miniature_layouts import write_miniature_elpv
from tests.support.records import make_record, make_scores

FOLDER = find_dataset("folder")
SIDE = 12
NAMES = ("train", "test", "good", "ground_truth", "scratch", "bolt", "000.png", "000_mask.png", "001.png", "000", "OK")
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def cases(number: int) -> settings:
    """This many cases, always the same ones, so that the suite does not fail at random."""
    return settings(max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)


def both(short: int, long: int) -> Any:
    """Run a property over few cases in the suite and over many under the marker ``long``."""
    return pytest.mark.parametrize("budget", [short, pytest.param(long, marks=pytest.mark.long)])


@pytest.fixture(autouse=True)
def _small_bombs(monkeypatch):
    """Lower the size from which Pillow refuses images as bombs: a header may claim any size, which takes memory."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)


def attempt(call: Callable[[], Any], *errors: type[Exception]) -> tuple[Any, str]:
    """(result, "") or (None, message of one of the project's own errors); other errors are not caught."""
    try:
        return call(), ""
    except errors as error:
        str(error).encode()
        return None, str(error)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        yield directory
    finally:
        shutil.rmtree(os.fsencode(directory))  # type: ignore[arg-type]


# Bytes


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(len(kind)).integers(0, 256, (SIDE, SIDE + 3, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def sixteen_bit(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 400).save(stream, kind)
    return stream.getvalue()


def turned(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(kind, exif=exif)


IMAGES = {
    "png": encoded("PNG"), "grey png": encoded("PNG", "L"), "palette png": encoded("PNG", "P"),
    "1-bit png": encoded("PNG", "1"), "alpha png": encoded("PNG", "RGBA"), "16-bit png": sixteen_bit("PNG"),
    "turned png": turned("PNG"), "jpeg": encoded("JPEG"), "cmyk jpeg": encoded("JPEG", "CMYK"),
    "progressive jpeg": encoded("JPEG", progressive=True), "turned jpeg": turned("JPEG"), "tiff": encoded("TIFF"),
    "lzw tiff": encoded("TIFF", compression="tiff_lzw"), "16-bit tiff": sixteen_bit("TIFF"),
    "float tiff": encoded("TIFF", "F"), "turned tiff": turned("TIFF"), "cmyk tiff": encoded("TIFF", "CMYK"),
    "bmp": encoded("BMP"), "palette bmp": encoded("BMP", "P"), "webp": encoded("WEBP"), "ppm": encoded("PPM"),
}  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes of which some are flipped, cut, repeated or replaced."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["set", "set", "set", "cut", "remove", "insert", "repeat"])):
            case "set":
                content[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, content[at] ^ 1, content[at] ^ 0x10]))
            case "cut":
                del content[at:]
            case "remove":
                del content[at : at + draw(st.integers(1, 8))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 64))]
    return bytes(content)


@both(40, 900)
def test_any_bytes_are_an_image_or_an_error_that_names_the_file(budget):
    @cases(budget)
    @given(st.data(), st.sampled_from(["a.png", "b.JPG", "c.tif"]))
    def examine(data, name):
        kind = data.draw(st.sampled_from([*IMAGES, "random"]))
        content = data.draw(st.binary(max_size=400) if kind == "random" else damaged(IMAGES[kind]))
        (directory / name).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Pillow warns about odd metadata
            picture, message = attempt(lambda: decode(directory, name), DatasetError)
            if message:
                assert str(directory / name) in message
            else:
                assert picture.mode == "RGB"
                assert image_size(directory, name) == (picture.height, picture.width)
                assert load_image(directory, name, 4).shape == (4, 4, 3)
            for read in (decode_mask, image_size):
                attempt(partial(read, directory, name), DatasetError)

    with place() as directory:
        examine()


# Directory trees


def template() -> dict[str, bytes]:
    """The smallest complete set: file contents by path."""
    with place() as directory:
        write_miniature_folder(directory, train=2, good=1, per_defect=2, defects=("scratch",), size=SIDE)
        return {f.relative_to(directory).as_posix(): f.read_bytes() for f in directory.rglob("*.png")}


def template_of_elpv() -> dict[str, bytes]:
    with place() as directory:
        write_miniature_elpv(directory, normal=2, anomalous=1, doubtful=1)
        return {f.relative_to(directory).as_posix(): f.read_bytes() for f in directory.rglob("*") if f.is_file()}


TEMPLATE = template()
name = st.one_of(
    st.sampled_from(NAMES),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12).filter(
        lambda text: text not in (".", "..")
    ),
    st.sampled_from(["ü 1.png", "螺母", " ", "[bold]", "a\nb.png", "-", "~", "x.png#3", "x.npy#3", "...", "é.png"]),
)
raw_name = st.one_of(name.map(os.fsencode), st.sampled_from([b"\xff.png", b"\xfe", b"n\xc3.png"]))


CONTENTS = [*IMAGES.values(), *(whole[: len(whole) // 2] for whole in IMAGES.values()), b"", b"text", b"\x89PNG\r\n"]


@st.composite
def change(draw: st.DrawFn) -> tuple[Any, ...]:
    kind = draw(st.sampled_from(["file", "delete", "rename", "link", "directory", "damage", "move", "copy"]))
    where, other = draw(st.integers(0, 60)), draw(st.integers(0, 60))
    content = draw(st.sampled_from(CONTENTS)) if kind in ("file", "damage") else b""
    return kind, where, other, draw(raw_name), content


def apply(root: bytes, step: tuple[Any, ...]) -> None:
    """Apply one change, unless the file system refuses it."""
    kind, where, other, called, content = step
    paths = sorted(os.path.join(d, n) for d, below, files in os.walk(root) for n in (*below, *files))  # noqa: PTH118
    folders = [root, *(path for path in paths if os.path.isdir(path))]  # noqa: PTH112
    if not paths:
        return
    path, folder = paths[where % len(paths)], folders[other % len(folders)]
    target = os.path.join(folder, called)  # noqa: PTH118
    with contextlib.suppress(OSError, shutil.Error):
        if kind in ("file", "damage"):
            place = target if kind == "file" else path
            with open(place, "wb") as file:  # noqa: PTH123
                file.write(content)
        elif kind == "delete":
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)  # noqa: PTH108, PTH112, PTH114
        elif kind in ("rename", "move"):
            os.rename(path, os.path.join(os.path.dirname(path), called) if kind == "rename" else target)  # noqa: PTH104, PTH118, PTH120
        elif kind == "link":
            os.symlink(path if where % 3 else target, target)  # noqa: PTH211
        elif kind == "directory":
            os.mkdir(target)  # noqa: PTH102
        else:
            shutil.copy(path, target)


def inspect(root: Path, info: DatasetInfo = FOLDER) -> None:
    problems = verify_root(root, info)
    for problem in problems:
        str(problem).encode()
    sound = not any(problem.severity == "error" for problem in problems)
    try:
        index = info.build(root)
    except UniBoardError as error:
        index = getattr(error, "partial", None)
        str(error).encode()
        raised = True
    else:
        raised = False
    assert not (sound and raised), "verify found no error"
    for sample in index.samples if index else ():
        pixels, message = attempt(partial(load_image, index.root, sample.path, 4), UniBoardError)
        _, also = attempt(partial(load_mask, index.root, sample), UniBoardError)
        assert message or pixels.shape == (4, 4, 3)
        for text in (message, also):
            assert not (sound and text), (problems, text)
            assert not text or str(root) in text
        assert Path(os.path.normpath(index.root / sample.path)).is_relative_to(root)
    for category, split in itertools.product(index.categories if index else (), ("train", "test")):
        digest, message = attempt(partial(index.fingerprint, category, split), UniBoardError)
        assert len(digest) == 64 if digest else not sound


@both(40, 900)
def test_any_tree_is_an_index_or_an_error_for_people(budget):
    @cases(budget)
    @given(st.lists(change(), min_size=1, max_size=8))
    def examine(changes):
        with place() as directory:
            for file, content in TEMPLATE.items():
                (directory / file).parent.mkdir(parents=True, exist_ok=True)
                (directory / file).write_bytes(content)
            for step in changes:
                apply(os.fsencode(directory), step)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # Pillow warns about odd metadata
                inspect(directory)

    examine()


@both(40, 900)
def test_any_list_and_tree_of_elpv_is_an_index_or_an_error_for_people(budget):
    elpv, whole = replace(find_dataset("elpv"), counts={}), template_of_elpv()
    labels = "elpv_dataset/data/labels.csv"
    hostile = st.sampled_from(
        "../a.png;/etc/a.png;c:a.png;a\\b.png;images/\0.png;labels.csv;images//cell0001.png;./images/cell0002.png;images;"
        f"images/{'a' * 300}.png;x.npy#1;[/].png;nan;inf;-0.0;1_0;1e400;٣;Mono;;mono poly;\x1b[2J;\u2028;1.0\r".split(
            ";"
        )
    )

    @cases(budget)
    @given(st.data(), st.lists(change(), max_size=3))
    def examine(data, changes):
        lines = [line.split() for line in whole[labels].decode().splitlines()]
        for _ in range(data.draw(st.integers(0, 3))):
            line = data.draw(st.sampled_from(lines))
            line[data.draw(st.integers(0, 2))] = data.draw(hostile)
        text = "\n".join(map(" ".join, lines)).encode()
        with place() as directory:
            for file, content in whole.items():
                (directory / file).parent.mkdir(parents=True, exist_ok=True)
                (directory / file).write_bytes(content)
            (directory / labels).write_bytes(data.draw(damaged(text)) if data.draw(st.booleans()) else text)
            for step in changes:
                apply(os.fsencode(directory), step)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # Pillow warns about odd metadata
                inspect(directory, elpv)

    examine()


# Records and arrays

scalar = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just([]), st.just({})
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in nested JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, one in inner for spot in spots(one, (*path, key)))]


@both(40, 600)
def test_any_record_is_read_or_reported_and_never_breaks_a_table(budget):
    records = [make_record(seed=seed, value=0.5 + seed / 10) for seed in (0, 1)]
    plain = json.loads(records[1].model_dump_json())

    @cases(budget)
    @given(st.data())
    def examine(data):
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged(whole)))
        else:  # valid JSON with its digest, a value of it replaced or removed
            content = json.loads(json.dumps(plain))
            *way, last = data.draw(st.sampled_from(spots(content)[1:]))
            target = content
            for key in way:
                target = target[key]
            if data.draw(st.booleans()):
                target[last] = data.draw(scalar)
            else:
                del target[last]
            path.write_bytes(sealed(json.dumps(content, indent=1)))
        _, message = attempt(lambda: read_record(path), RecordError)
        assert not message or (str(path) in message and store.records() == [records[0]])
        attempt(lambda: table(store, "csv", "headline", "I-AUROC"), ResultsError)

    with place() as directory:
        store = Store(directory)
        store.write(records[0])
        path = store.write(records[1])
        whole = path.read_bytes()
        examine()


@both(40, 600)
def test_any_array_file_is_read_or_reported(budget):
    record = make_record()
    scores, maps = make_scores(record), np.zeros((3, 64, 64), dtype=np.float16)
    pictures = Pictures("f" * 64, ("a.png",), ("good",), (b"jpeg",), np.zeros((1, 128, 128), dtype=bool))
    row = np.ones((2, 3), np.float16)

    def as_written(read: Callable[[], Any], expected: Any, *errors: type[Exception]) -> None:
        found, message = attempt(read, *errors)
        assert message or np.array_equal(found, expected)

    @cases(budget)
    @given(st.data())
    def examine(data):
        file = data.draw(st.sampled_from(sorted(whole)))
        file.write_bytes(data.draw(damaged(whole[file])))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                as_written(lambda: store.scores(record).own, scores.own, RecordError)
                as_written(lambda: store.maps(record), maps, RecordError)
                found = read_pictures(store, "toy", "bolt")
                assert found is None or isinstance(found, Pictures)
                attempt(lambda: decode(directory, "rows.npy#2"), DatasetError)
                assert not bank.is_sound() or np.array_equal(bank.load(), row)
        finally:
            file.write_bytes(whole[file])

    with place() as directory:
        store = Store(directory)
        path = store.write(record, scores, maps)
        write_pictures(store, "toy", "bolt", pictures)
        np.save(directory / "rows.npy", np.zeros((3, 5, 5, 3), np.uint8))
        bank = BankFile(directory, {"name": "toy"})
        with bank.writing((2, 3), "float16") as stream:
            stream.write(row.tobytes())
        bank.seal(1.0)
        whole = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file() and file != path}
        examine()
