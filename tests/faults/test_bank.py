"""A feature bank on a bad disk: flipped bytes, cut and exchanged files are noticed and computed again."""

from __future__ import annotations

import json
import random
import shutil
import warnings

import numpy as np
import pytest
import torch

from datasets.errors import StorageError
from datasets.index.mvtec_layout import index_folder
from methods.backbones.backbone import Backbone
from methods.backbones.choice import BackboneChoice
from methods.feature_spec import FeatureSpec
from methods.features.bank_file import BankFile, array_digest
from tests.support.banks import bank
from tests.support.benchmarks import run_all
from tests.support.miniature import write_miniature_folder

SPEC = FeatureSpec(64, (8, 16), images=True)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone(BackboneChoice("resnet18", "random"))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return index_folder(write_miniature_folder(tmp_path_factory.mktemp("set"), train=3), "folder")


def read(index, backbone, directory):
    """The batch that a new process would get, and how often it made the backbone."""
    opened, maker = bank(index, backbone, directory)
    batch = opened.open(SPEC, ["bolt"], "train").batch([0, 1, 2])
    return (*batch.features, batch.images), maker.made


@pytest.fixture
def filled(index, backbone, tmp_path):
    expected, made = read(index, backbone, tmp_path)
    assert made == 1
    return tmp_path, expected


def test_an_intact_bank_is_used_without_a_warning(filled, index, backbone):
    directory, expected = filled
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, made = read(index, backbone, directory)
    assert made == 0
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("damage", ["first", "header", "middle", "last", "cut", "empty", "manifest", "longer"])
def test_damage_is_reported_and_the_file_computed_again(filled, index, backbone, part, damage):
    directory, expected = filled
    file = sorted(directory.rglob("*.npy"))[part]
    content = bytearray(file.read_bytes())
    if damage == "manifest":
        manifest = file.with_suffix(".json")
        manifest.write_text(manifest.read_text()[:40])
    elif damage in ("cut", "empty", "longer"):
        whole = bytes(content)
        file.write_bytes({"cut": whole[:-100], "empty": b"", "longer": whole + b"x"}[damage])
    else:
        content[{"first": 0, "header": 70, "middle": len(content) // 2, "last": -1}[damage]] ^= 4
        file.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{file}: .*computed again"):
        again, _ = read(index, backbone, directory)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(index, backbone, directory)[1] == 0, "it is intact again"


def test_a_unit_that_was_made_for_something_else_is_not_used(filled, index, backbone):
    """A file that was copied or renamed, so that its manifest is that of another file."""
    directory, expected = filled
    sealed = {file: json.loads(file.read_text()) for file in directory.rglob("*.json")}
    first, second = (file for file, manifest in sealed.items() if "stride" in manifest["key"])
    for ending in (".json", ".npy"):
        shutil.copy(first.with_suffix(ending), second.with_suffix(ending))
    with pytest.warns(UserWarning, match="made under another key. It is computed again"):
        again, _ = read(index, backbone, directory)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


@pytest.mark.parametrize("entry", ["key", "digest", "shape", "seconds"])
def test_a_unit_whose_manifest_lacks_an_entry_is_computed_again(filled, index, backbone, entry):
    directory, expected = filled
    for file in directory.rglob("*.json"):
        sealed = json.loads(file.read_text())
        del sealed[entry]
        file.write_text(json.dumps(sealed))
    with pytest.warns(UserWarning, match="manifest|damaged"):
        again, _ = read(index, backbone, directory)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


def test_an_edited_manifest_is_noticed_because_the_digest_covers_it(filled, index, backbone):
    directory, _ = filled
    manifest = next(iter(sorted(directory.rglob("*.json"))))
    sealed = json.loads(manifest.read_text())
    for changed in (sealed | {"seconds": 1e6}, sealed | {"seconds": float("nan")}, sealed | {"note": 1}, [sealed], 3):
        manifest.write_text(json.dumps(changed))
        with pytest.warns(UserWarning, match=rf"{manifest.with_suffix('.npy')}: .*computed again"):
            read(index, backbone, directory)


def test_a_unit_sealed_by_an_earlier_version_is_computed_again(filled, index, backbone):
    """Its checksum was a sum of every page, in which the order of the values does not show."""
    directory, expected = filled
    for file in directory.rglob("*.json"):
        sealed = json.loads(file.read_text())
        del sealed["digest"]
        file.write_text(json.dumps({**sealed, "images": sealed["shape"][0], "checksum": "0" * 32}))
    with pytest.warns(UserWarning, match="its manifest has no digest .an earlier version wrote it.. It is computed"):
        again, made = read(index, backbone, directory)
    assert made == 1
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


def _shuffled_words(content: bytearray, other: bytes, dice: random.Random) -> None:
    page = 4096 * dice.randrange(1, len(content) // 4096)
    words = [bytes(content[k : k + 8]) for k in range(page, page + 4096, 8)]
    dice.shuffle(words)
    content[page : page + 4096] = b"".join(words)


def _reversed_pages(content: bytearray, other: bytes, dice: random.Random) -> None:
    for page in range(4096, len(content) // 4096 * 4096, 4096):
        words = [bytes(content[k : k + 8]) for k in range(page, page + 4096, 8)]
        content[page : page + 4096] = b"".join(reversed(words))


def _pages_in_reverse_order(content: bytearray, other: bytes, dice: random.Random) -> None:
    pages = [bytes(content[k : k + 4096]) for k in range(4096, len(content) // 4096 * 4096, 4096)]
    content[4096 : 4096 + 4096 * len(pages)] = b"".join(reversed(pages))


def _page_of_another_unit(content: bytearray, other: bytes, dice: random.Random) -> None:
    content[4096:8192] = other[4096:8192]


def _rows_of_another_unit(content: bytearray, other: bytes, dice: random.Random) -> None:
    content[128:] = other[128:]


@pytest.mark.parametrize(
    "damage",
    [_shuffled_words, _reversed_pages, _pages_in_reverse_order, _page_of_another_unit, _rows_of_another_unit],
)
def test_values_in_another_order_or_of_another_bank_are_noticed(filled, index, backbone, tmp_path, damage):
    """The size of the file, and every sum over a page that stays in its place, are the same as before."""
    directory, expected = filled
    opened, _ = bank(index, backbone, tmp_path / "other")
    opened.open(SPEC, ["cloth"], "train")
    mine = next(file for file in directory.rglob("*.npy") if np.load(file).dtype == np.float16)
    shape = np.load(mine).shape
    theirs = next(file for file in (tmp_path / "other").rglob("*.npy") if np.load(file).shape == shape)
    content = bytearray(mine.read_bytes())
    damage(content, theirs.read_bytes(), random.Random(0))
    assert bytes(content) != mine.read_bytes()
    mine.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{mine}: damaged: its digest .*computed again"):
        again, made = read(index, backbone, directory)
    assert made == 1
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


def test_runs_on_a_bank_in_another_order_have_the_right_numbers(options, tmp_path, monkeypatch):
    """From the file to the record: one shuffled page a run, then all pages of all files in reverse order."""
    opts = options(settings=("separate",), categories=("bolt",), cache_dir=tmp_path / "cache", force=True)
    (expected,) = run_all(opts)
    whole = {file: file.read_bytes() for file in (tmp_path / "cache").rglob("*.npy")}
    dice, other = random.Random(0), b""

    def damaged(damage, files) -> None:
        for file in files:
            content = bytearray(whole[file])
            damage(content, other, dice)
            file.write_bytes(content)

    for _ in range(5):
        file = dice.choice(sorted(whole))
        damaged(_shuffled_words, [file])
        with pytest.warns(UserWarning, match=rf"{file}: damaged: its digest .*computed again"):
            (record,) = run_all(opts)
        assert record.results == expected.results
        assert file.read_bytes() == whole[file]
    damaged(_pages_in_reverse_order, whole)
    with pytest.warns(UserWarning, match="computed again") as warned:
        (record,) = run_all(opts)
    assert {str(one.message).partition(":")[0] for one in warned} == set(map(str, whole))
    assert record.results == expected.results
    damaged(_pages_in_reverse_order, whole)
    monkeypatch.setattr("methods.features.bank_file._fault", lambda *_: "")
    (unchecked,) = run_all(opts)
    assert unchecked.results != expected.results, "without the check the numbers are wrong, and nobody is warned"


def test_the_digest_notices_every_single_flip_every_shuffled_page_and_every_swap_of_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("methods.features.bank_file._BLOCK", 8192)
    dice, generator = random.Random(0), np.random.default_rng(0)
    content = generator.integers(0, 256, 5 * 4096 + 77, dtype=np.uint8)
    file = tmp_path / "file"

    def of(changed: np.ndarray) -> str:
        changed.tofile(file)
        return array_digest(file, {"key": 1})

    expected = of(content)
    assert of(content) == expected
    assert array_digest(file, {"key": 2}) != expected
    torch.set_num_threads(torch.get_num_threads() % 2 + 1)
    assert of(content) == expected, "it does not depend on the number of threads"
    for _ in range(200):
        changed = content.copy()
        changed[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        assert of(changed) != expected
    for _ in range(200):
        changed = content.copy()
        page = changed[4096 * (start := dice.randrange(5)) : 4096 * (start + 1)].view(np.uint64)
        generator.shuffle(page)
        assert of(changed) != expected
    for start in (0, 1, 2):
        changed = content.copy()
        changed[4096 * start : 4096 * (start + 1)] = content[4096 * (start + 2) : 4096 * (start + 3)]
        changed[4096 * (start + 2) : 4096 * (start + 3)] = content[4096 * start : 4096 * (start + 1)]
        assert of(changed) != expected
    zeroed = content.copy()
    zeroed[8192:12288] = 0
    assert of(zeroed) != expected
    assert of(content[:-1]) != expected


def test_a_disk_that_runs_full_while_features_are_written_is_an_error_and_not_the_end_of_the_process(
    tmp_path, small_disk
):
    """If it were written through a memory map, this would be a bus error, which can't be caught."""
    disk = small_disk(tmp_path / "disk", 256)
    file = BankFile(disk.place, {"name": "toy"})
    row = np.ones((1, 128, 128), dtype=np.float16).tobytes()

    def write() -> None:
        with file.writing((64, 1, 128, 128), "float16") as stream:
            for _ in range(64):
                stream.write(row)

    with pytest.raises(StorageError, match=rf"{file.array}: can't be written .No space left"):
        write()
    assert disk.files() == set()
    assert not file.is_sound()
