"""``python -m bench data`` fetches, unpacks and verifies datasets from a server on this machine."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.commands import data as data_commands
from bench.commands.app import main
from bench.commands.data import EXIT_PERSON, EXIT_PROBLEMS
from bench.errors import EXIT_FAILED_RUNS, EXIT_USER_ERROR
from datasets import btad, dtd, elpv, mpdd, mvtec
from datasets.download import fetch as fetch_module
from datasets.download.fetch import fetch_file
from datasets.download.obtain import MANIFEST
from datasets.index.registry import find_dataset, register
from tests.support.archives import member, write_tar, write_zip, zip_member
from tests.support.command_line import invoke
from tests.support.faulty_server import Faults, faulty_server
from tests.support.miniature import write_miniature_folder, write_miniature_visa
from tests.support.miniature_layouts import DEFECTIVE_TEST, GOOD_TEST, TRAIN, write_miniature_btad, write_miniature_elpv

MINIATURE = dict.fromkeys(("01", "02"), (TRAIN, GOOD_TEST, DEFECTIVE_TEST))


def stopped(capsys, monkeypatch, *args: str) -> str:
    """The message with which the command ends because of an error that is written for users."""
    monkeypatch.setattr("sys.argv", ["bench", "data", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == EXIT_USER_ERROR
    return " ".join(capsys.readouterr().err.split())


def packed(directory: Path, file: Path) -> bytes:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    write_zip(file, *(zip_member(path.relative_to(directory).as_posix(), path.read_bytes()) for path in files))
    return file.read_bytes()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small BTAD on a server with the given faults; the address of the real dataset leads to this server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = packed(write_miniature_btad(tmp_path / "original"), tmp_path / "btad.zip")
    faults = Faults(content)
    real = find_dataset("btad")
    archive = replace(btad.ARCHIVE, sha256=hashlib.sha256(content).hexdigest())
    register(replace(real, archive=archive, counts=MINIATURE))
    with faulty_server(faults) as address:

        def fetch(url: str, file: Path, **options) -> None:
            assert url == archive.url
            fetch_file(address, file, pause=0.0, loopback_http=True, **options)

        monkeypatch.setattr(data_commands, "fetch_file", fetch)
        yield faults
    register(real)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data" / "btad"


@pytest.fixture
def where(tmp_path):
    return ["--data-dir", str(tmp_path / "data")]


def test_a_dataset_is_fetched_and_verified_over_a_connection_that_breaks(published, place, where, monkeypatch):
    monkeypatch.setattr(fetch_module, "_CHUNK", 1000)  # the miniature is smaller than the usual chunk
    published.cuts = [len(published.content) // 2, 0]
    result = invoke("data", "btad", "--yes", *where)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "Licence:   sources differ" in lines[1]
    assert lines.index(next(line for line in lines if "Fetching https://avires" in line)) > 1
    assert "14 images, no problem found." in lines[-1]
    assert sorted(entry.name for entry in place.iterdir()) == ["BTech_Dataset_transformed", MANIFEST]
    assert [bool(headers.get("range")) for headers in published.requests] == [False, True, True]


def test_an_existing_dataset_is_verified_and_not_fetched_again(published, place, where):
    invoke("data", "btad", "--yes", *where)
    again = invoke("data", "btad", *where)
    assert again.exit_code == 0
    assert len(published.requests) == 1
    gone = next(place.rglob("test/ko/*.png"))
    gone.unlink()
    broken = invoke("verify", "btad", *where)
    assert broken.exit_code == EXIT_PROBLEMS
    assert "was unpacked, but is gone. make data DATASET=btad restores it." in broken.output
    assert "BTAD has 3 training, 2 good and 2 anomalous" in broken.output
    restored = invoke("data", "btad", "--yes", *where)
    assert restored.exit_code == 0
    assert f"1 files of the download are gone, such as {gone.relative_to(place)}" in restored.output
    assert len(published.requests) == 2


def test_a_dataset_with_other_counts_is_unpacked_again_into_an_empty_directory(published, place, where, tmp_path):
    invoke("data", "btad", "--yes", *where)
    image = next(place.rglob("train/ok/*"))
    (image.parent / f"mine{image.suffix}").write_bytes(image.read_bytes() + b"x")
    broken = invoke("data", "btad", *where)
    assert broken.exit_code == EXIT_PROBLEMS
    assert "4 training, 2 good and 2 anomalous test images; BTAD has 3 training" in broken.output
    assert "Unpack the dataset again, into an empty directory." in broken.output
    assert invoke("data", "btad", "--yes", "--root", str(tmp_path / "empty")).exit_code == 0


def test_a_wrong_checksum_names_the_file_and_unpacks_nothing(published, place, where, capsys, monkeypatch):
    published.content = published.content[:-1] + b"?"
    error = stopped(capsys, monkeypatch, "btad", "--yes", *where)
    assert f"{place / 'btad.zip'}: not the expected file (sha256" in error
    assert "nothing of it was unpacked" in error
    assert list(place.iterdir()) == []


def test_a_server_that_is_gone_is_named(published, place, where, capsys, monkeypatch):
    published.statuses = [404]
    assert "the server answers 404" in stopped(capsys, monkeypatch, "btad", "--yes", *where)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (
            {"statuses": [404], "phrase": "Not\x1b[2J \x1b]0;owned\x07 Found\x9b1m"},
            r"404 Not\x1b[2J \x1b]0;owned\x07 Found\x9b1m",
        ),
        ({"statuses": [503] * 6, "phrase": "\x1b[31mBusy\x08"}, r"503 \x1b[31mBusy\x08"),
        ({"location": "http://example.org/\x1b[2Jx"}, "example.org/"),
    ],
)
def test_an_answer_of_the_server_can_not_command_the_terminal(
    fault, shown, published, place, where, capsys, monkeypatch
):
    for name, value in fault.items():
        setattr(published, name, value)
    message = stopped(capsys, monkeypatch, "btad", *where, "--yes")
    assert shown in message
    assert not {character for character in message if ord(character) < 32 or 127 <= ord(character) < 160}


def test_nothing_is_fetched_without_a_yes(published, place, where, capsys, monkeypatch):
    error = stopped(capsys, monkeypatch, "btad", *where)
    assert "give --yes (make: YES=1)" in error
    assert published.requests == []
    assert not place.exists()


@pytest.mark.parametrize(("answer", "requests"), [("y", 1), ("n", 0)])
def test_on_a_terminal_the_user_is_asked_about_the_licence(published, where, monkeypatch, answer, requests):
    monkeypatch.setattr("typer.confirm", lambda _: answer == "y")
    monkeypatch.setattr(data_commands, "_somebody_is_there", lambda: True)
    if answer == "y":
        assert invoke("data", "btad", *where).exit_code == 0
    else:
        with pytest.raises(data_commands.DatasetError, match="Nothing was fetched"):
            invoke("data", "btad", *where)
    assert len(published.requests) == requests


def test_counts_other_than_published_are_problems(published, where, monkeypatch):
    register(replace(find_dataset("btad"), counts=MINIATURE | {"03": (3, 2, 2)}))
    result = invoke("data", "btad", "--yes", *where)
    assert result.exit_code == EXIT_PROBLEMS
    assert "03: the category is missing" in result.output


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("mvtec", mvtec.PAGE),
        ("mpdd", mpdd.PAGE),
        ("mvtec_loco", "https://www.mvtec.com/company/research/datasets/mvtec-loco"),
        ("mvtec_ad2", "https://www.mvtec.com/company/research/datasets/mvtec-ad-2"),
        ("mvtec_3d_rgb", "https://www.mvtec.com/company/research/datasets/mvtec-3d-ad"),
        ("real_iad", "https://huggingface.co/datasets/Real-IAD/Real-IAD"),
    ],
)
def test_page_and_commands_are_shown_if_a_form_has_to_be_filled_in(name, page, tmp_path, where):
    result = invoke("data", name, *where)
    assert result.exit_code == EXIT_PERSON
    assert "Licence:" in result.output.splitlines()[1]
    assert f"A person has to get it from {page}" in result.output
    assert f"python -m bench data {name} --data-dir {tmp_path / 'data'}" in result.output
    assert not (tmp_path / "data").exists()


def test_an_archive_that_a_person_put_there_is_unpacked_and_counted(tmp_path, where):
    place = tmp_path / "data" / "mpdd"
    place.mkdir(parents=True)
    packed(write_miniature_folder(tmp_path / "original", categories=("tubes",)), place / "MPDD.zip")
    result = invoke("data", "mpdd", *where)
    assert result.exit_code == EXIT_PROBLEMS  # a miniature has other counts
    assert "No checksum of" in result.output
    assert "tubes: 4 training, 2 good and 4 anomalous test images; MPDD has 122 training" in result.output
    assert (place / "tubes").is_dir()
    assert (place / MANIFEST).is_file()


def test_textures_are_fetched_into_the_directory_that_draem_reads(tmp_path, where, monkeypatch):
    pictures = write_miniature_folder(tmp_path / "original", categories=("bolt",))
    members = [member(f"dtd/images/{n}.png", file.read_bytes()) for n, file in enumerate(pictures.rglob("*.png"))]
    content = write_tar(tmp_path / "dtd.tar.gz", *members, mode="w:gz").read_bytes()
    known = data_commands.known_data()
    archive = replace(dtd.ARCHIVE, md5=hashlib.md5(content, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(data_commands, "known_data", lambda: known | {"dtd": replace(known["dtd"], archive=archive)})
    monkeypatch.setattr(data_commands, "fetch_file", lambda url, file, **_: file.write_bytes(content))
    result = invoke("data", "dtd", "--yes", *where)
    assert result.exit_code == 0
    assert f"{len(members)} images, no problem found. The right number of images is not known here." in result.output
    (tmp_path / "data/dtd/dtd/images/0.png").write_bytes(b"damaged")
    broken = invoke("data", "dtd", *where)
    assert broken.exit_code == EXIT_PROBLEMS
    assert "dtd/images/0.png: " in broken.output


@pytest.fixture
def package_index(tmp_path, monkeypatch):
    """A directory in which pip finds a small ELPV, and no other index."""
    index = tmp_path / "index"
    index.mkdir()
    content = packed(write_miniature_elpv(tmp_path / "original"), index / elpv.ARCHIVE.file)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(index), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    real = find_dataset("elpv")
    archive = replace(elpv.ARCHIVE, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    register(replace(real, archive=archive, counts=dict.fromkeys(("mono", "poly"), (4, 1, 2))))
    yield index
    register(real)


def test_a_package_is_fetched_by_pip_after_its_licence_was_shown(package_index, tmp_path, where):
    result = invoke("data", "elpv", "--yes", *where)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[1] == "  Licence:   CC BY-NC-SA 4.0"
    assert "  Archive:   the package elpv-dataset==1.0.0.post1 (by pip)" in lines
    assert sum(line.startswith("Fetching the package elpv-dataset==1.0.0.post1 (by pip)") for line in lines) == 1
    assert "14 images, no problem found." in lines[-1]
    gone = next((tmp_path / "data/elpv").rglob("cell0001.png"))
    gone.unlink()
    assert "make data DATASET=elpv restores it." in invoke("verify", "elpv", *where).output
    assert invoke("data", "elpv", "--yes", *where).exit_code == 0
    assert gone.is_file()


def test_no_package_is_fetched_without_a_yes(package_index, tmp_path, where, capsys, monkeypatch):
    assert "give --yes (make: YES=1)" in stopped(capsys, monkeypatch, "elpv", *where)
    assert not (tmp_path / "data").exists()


def test_a_package_that_pip_does_not_find_is_put_there_by_hand(package_index, tmp_path, where, capsys, monkeypatch):
    wheel = (package_index / elpv.ARCHIVE.file).rename(tmp_path / elpv.ARCHIVE.file)
    error = stopped(capsys, monkeypatch, "elpv", "--yes", *where)
    place = tmp_path / "data/elpv"
    assert "pip could not fetch it" in error
    assert f"put {wheel.name} into {place}" in error
    wheel.rename(place / wheel.name)
    assert invoke("data", "elpv", *where).exit_code == 0


def test_files_of_an_interrupted_unpacking_do_not_count_as_the_dataset(published, place, where, tmp_path):
    write_miniature_btad(place, products=("01",))
    (place / ".unpacking").mkdir()
    torn = next(place.rglob("train/ok/*"))
    torn.write_bytes(torn.read_bytes()[:9])
    with pytest.raises(data_commands.DatasetError, match=rf"not the same as in the archive: '\S+{torn.name}'\. Move"):
        invoke("data", "btad", "--yes", *where)
    torn.rename(tmp_path / "moved")
    done = invoke("data", "btad", "--yes", *where)
    assert done.exit_code == 0, done.output
    assert sorted(entry.name for entry in place.iterdir()) == ["BTech_Dataset_transformed", "btad.zip", MANIFEST]


def test_progress_is_drawn_on_a_terminal():
    from rich.console import Console

    console = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    with data_commands._bar(console, "Fetching", data_commands.DownloadColumn()) as progress:
        progress(2_000_000, 0)
        progress(3_000_000, 4_000_000)
    assert "3.0/4.0 MB" in console.export_text()


def test_a_root_of_its_own(published, tmp_path):
    result = invoke("data", "btad", "--yes", "--root", str(tmp_path / "elsewhere"))
    assert result.exit_code == 0
    assert (tmp_path / "elsewhere" / MANIFEST).is_file()


def test_the_tasks_of_cifar10_are_one_download():
    assert data_commands._find("cifar10").archive == find_dataset("cifar10-56789").archive


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vsia", "Did you mean visa"),
        ("dtdd", "Did you mean dtd"),
        ("folder", "Own images: there is nothing to download"),
        ("synthetic", "there is nothing to download"),
    ],
)
def test_names_that_cant_be_downloaded(name, expected, where, capsys, monkeypatch):
    assert expected in stopped(capsys, monkeypatch, name, *where)


def test_verify_lists_problems_and_says_so_in_its_exit_code(folder, tmp_path):
    assert invoke("verify", "folder", "--root", str(folder)).exit_code == 0
    broken = write_miniature_visa(tmp_path / "visa")
    result = invoke("verify", "visa", "--root", str(broken))
    assert result.exit_code == EXIT_FAILED_RUNS
    assert "problems in" in result.output


def test_verify_lists_the_textures_that_are_not_read(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "deep/a.png")
    sound = invoke("verify", "dtd", "--root", str(tmp_path))
    assert sound.exit_code == 0, sound.output
    assert "16-bit files are scaled from 12 bits (0 to 4095)." in sound.output
    (tmp_path / "deep/b.gif").write_bytes(b"GIF89a")
    result = invoke("verify", "dtd", "--root", str(tmp_path))
    assert result.exit_code == EXIT_PROBLEMS
    assert "deep: 1 file is not read (b.gif): .gif is not a suffix that is read." in result.output
    missing = invoke("verify", "dtd", "--root", str(tmp_path / "none"))
    assert missing.exit_code == EXIT_PROBLEMS
    assert "make data DATASET=dtd" in missing.output
