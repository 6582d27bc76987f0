import gzip
import io
import lzma
import os
import random
import stat
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest

from datasets.download import unpack as unpack_module
from datasets.download.unpack import unpack
from datasets.errors import DatasetError
from tests.support.archives import member, write_tar, write_zip, zip_member

FILES = {"candle/a.png": b"image", "candle/deep/b.png": b"another image", "readme.txt": b""}
ESCAPES = [
    "../escaped",
    "a/../../escaped",
    "/escaped",
    "//escaped",
    "C:/escaped",
    "C:escaped",
    "..\\escaped",
    "a\\..\\b",
]


def untouched(root) -> bool:
    return not root.exists() or list(root.iterdir()) == []


def write_good(file, kind):
    if kind == "zip":
        return write_zip(file, *(zip_member(name, content) for name, content in FILES.items()))
    return write_tar(file, *(member(name, content) for name, content in FILES.items()), mode=kind)


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_every_kind_of_archive_is_unpacked(tmp_path, kind):
    root = tmp_path / "set"
    contents = unpack(write_good(tmp_path / "packed", kind), root, 1000)
    assert {name: (root / name).read_bytes() for name in FILES} == FILES
    assert contents == {name: len(content) for name, content in FILES.items()}
    assert sorted(entry.name for entry in root.iterdir()) == ["candle", "readme.txt"]


def test_directories_of_an_archive_are_made(tmp_path):
    root = tmp_path / "set"
    folder = zip_member("empty/", kind=stat.S_IFDIR)
    assert unpack(write_zip(tmp_path / "a.zip", folder, zip_member("empty/x", b"x", kind=0)), root, 10) == {
        "empty/x": 1
    }
    other = tmp_path / "other"
    unpack(
        write_tar(tmp_path / "a.tar", member("./", type=tarfile.DIRTYPE), member("d", type=tarfile.DIRTYPE)), other, 10
    )
    assert (other / "d").is_dir()


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_path_that_leads_out_of_the_directory_is_refused(tmp_path, name, kind):
    root = tmp_path / "deep" / "set"
    file = tmp_path / f"evil.{kind}"
    if kind == "zip":
        write_zip(file, zip_member("good.png", b"x"), zip_member(name, b"x"))
    else:
        write_tar(file, member("good.png", b"x"), member(name, b"x"))
    with pytest.raises(DatasetError, match=rf"evil\.{kind}: refused.*outside"):
        unpack(file, root, 1000)
    assert untouched(root)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_zero_byte_does_not_hide_the_rest_of_a_name(tmp_path):
    file = write_zip(tmp_path / "evil.zip", zip_member("good.pngX../x", b"x"))
    file.write_bytes(file.read_bytes().replace(b"good.pngX", b"good.png\0"))
    with pytest.raises(DatasetError, match=r"evil\.zip: refused.*outside"):
        unpack(file, tmp_path / "set", 1000)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "../../escaped"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc"},
        {"type": tarfile.SYMTYPE, "linkname": "good.png"},
        {"type": tarfile.LNKTYPE, "linkname": "../escaped"},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.CHRTYPE},
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, fields):
    root = tmp_path / "set"
    file = write_tar(tmp_path / "evil.tar", member("good.png", b"x"), member("odd", **fields))
    with pytest.raises(DatasetError, match=r"'odd' is a link or a device"):
        unpack(file, root, 1000)
    assert untouched(root)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    root = tmp_path / "set"
    file = write_zip(tmp_path / "evil.zip", zip_member("good.png", b"x"), zip_member("odd", b"/etc", kind))
    with pytest.raises(DatasetError, match=r"'odd' is a link or a device"):
        unpack(file, root, 1000)
    assert untouched(root)


def test_an_encrypted_zip_is_refused(tmp_path):
    file = write_zip(tmp_path / "secret.zip", zip_member("a.png", b"x"))
    start = file.read_bytes()
    entry = start.index(b"PK\x01\x02")
    file.write_bytes(start[: entry + 8] + b"\x01" + start[entry + 9 :])
    with pytest.raises(DatasetError, match=r"secret\.zip: refused, because 'a\.png' is encrypted"):
        unpack(file, tmp_path / "set", 1000)


def test_contents_of_a_tar_that_are_too_large_are_refused(tmp_path):
    root = tmp_path / "set"
    file = write_tar(tmp_path / "large.tar.xz", *(member(f"{n}", bytes(400)) for n in range(3)), mode="w:xz")
    with pytest.raises(DatasetError, match="refused, because its contents exceed"):
        unpack(file, root, 1000)
    assert untouched(root)
    assert unpack(file, root, 1200) == {"0": 400, "1": 400, "2": 400}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_stops(tmp_path, monkeypatch, method):
    """24 MB of zeros in a few kB: at most one chunk more than the limit is written."""
    written = []
    write = unpack_module._write
    monkeypatch.setattr(unpack_module, "_write", lambda *given: written.append(write(*given)) or written[-1])
    root, limit = tmp_path / "set", 2**20
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("zeros", bytes(24 * 2**20))
    with pytest.raises(DatasetError, match=r"bomb\.zip: refused, because its contents exceed"):
        unpack(file, root, limit)
    assert limit < sum(written) <= 2 * limit + 1
    assert untouched(root)


def test_the_size_that_a_zip_states_is_not_trusted(tmp_path):
    file = write_zip(tmp_path / "liar.zip", zip_member("zeros", bytes(5000)))
    file.write_bytes(file.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(DatasetError, match=r"liar\.zip: can't be unpacked"):
        unpack(file, tmp_path / "set", 1000)
    assert untouched(tmp_path / "set")


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack_module, "_MOST_ENTRIES", 3)
    file = write_zip(tmp_path / "many.zip", *(zip_member(f"{n}") for n in range(4)))
    with pytest.raises(DatasetError, match=r"many\.zip: refused, because it holds more than 3 entries"):
        unpack(file, tmp_path / "set", 1000)
    assert untouched(tmp_path / "set")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_file_that_is_there_twice_is_refused(tmp_path, kind):
    file = tmp_path / "twice"
    if kind == "zip":
        write_zip(file, zip_member("a.png", b"one"), zip_member("a.png", b"two"))
    else:
        write_tar(file, member("a.png", b"one"), member("a.png", b"two"))
    with pytest.raises(DatasetError, match=r"twice: can't be unpacked"):
        unpack(file, tmp_path / "set", 1000)
    assert untouched(tmp_path / "set")


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:xz", "zip"])
def test_a_truncated_archive_leaves_nothing(tmp_path, kind):
    root, file = tmp_path / "set", tmp_path / "cut"
    contents = {f"{n}.png": os.urandom(5000) for n in range(4)}
    if kind == "zip":
        write_zip(file, *(zip_member(name, content) for name, content in contents.items()))
    else:
        write_tar(file, *(member(name, content) for name, content in contents.items()), mode=kind)
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(DatasetError, match="cut: can't be unpacked"):
        unpack(file, root, 10**6)
    assert untouched(root)


def test_a_damaged_byte_in_a_zip_is_noticed(tmp_path):
    file = write_zip(tmp_path / "damaged.zip", zip_member("a.png", os.urandom(5000)))
    content = bytearray(file.read_bytes())
    content[2000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"damaged\.zip: can't be unpacked"):
        unpack(file, tmp_path / "set", 10**6)
    assert untouched(tmp_path / "set")


def test_nothing_is_overwritten(tmp_path):
    root = tmp_path / "set"
    (root / "candle").mkdir(parents=True)
    (root / "candle/mine.png").write_bytes(b"mine")
    with pytest.raises(
        DatasetError, match=r"already there, and not the same as in the archive: 'candle/mine\.png'\. Move"
    ):
        unpack(write_good(tmp_path / "packed", "zip"), root, 1000)
    left = sorted(str(entry.relative_to(root)) for entry in root.rglob("*"))
    assert left == [".unpacking", "candle", "candle/mine.png"]


def test_what_an_interrupted_attempt_left_behind_is_cleared(tmp_path):
    root = tmp_path / "set"
    (root / ".unpacking" / "candle").mkdir(parents=True)
    (root / ".unpacking" / "candle" / "stale.png").write_bytes(b"stale")
    unpack(write_good(tmp_path / "packed", "w"), root, 1000)
    assert not (root / ".unpacking").exists()
    assert not (root / "candle/stale.png").exists()


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:xz", "zip"])
def test_any_damage_of_an_archive_is_a_readable_error(tmp_path, kind):
    """With bytes changed, cut off and inserted at random, it is unpacked or raises ``DatasetError``, nothing else."""
    rng = random.Random(kind)
    whole = write_good(tmp_path / "whole", kind).read_bytes()
    file = tmp_path / "damaged"
    refused = []
    for number in range(60):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(content))
            content[position : position + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        file.write_bytes(content[: rng.choice((len(content), rng.randrange(len(content))))])
        try:
            unpack(file, tmp_path / f"set{number}", 10**5)
        except DatasetError as error:
            refused.append(str(error))
    assert refused
    assert all(message.startswith(f"{file}: ") for message in refused)


@pytest.mark.parametrize("place", [-8, -5])
def test_the_checksum_at_the_end_of_a_gz_is_read(tmp_path, place):
    file = tmp_path / "data.tar.gz"
    content = bytearray(gzip.compress(_plain_tar(), mtime=0))
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match="can't be unpacked"):
        unpack(file, tmp_path / "data", 1 << 20)
    assert not (tmp_path / "data" / "a.png").exists()


def _plain_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"1234"))
    return stream.getvalue()


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_directories_that_python_could_not_remove_again_are_refused(tmp_path, write):
    make = member if write is write_tar else zip_member
    file = write(tmp_path / "a", make("/".join(["d"] * 1500) + "/x", b"x"))
    with pytest.raises(DatasetError, match=r"refused, because 'd/d/.*below more than 50 directories"):
        unpack(file, tmp_path / "set", 10**6)
    assert untouched(tmp_path / "set")
    deep = write(tmp_path / "b", make("/".join(["d"] * 40) + "/x", b"x"))
    assert len(unpack(deep, tmp_path / "set", 10**6)) == 1


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path, kind):
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 700 << 20
    archive = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(8 << 20), 1)
    (tmp_path / "a.tar.gz").write_bytes(archive)
    tracemalloc.start()
    try:
        with pytest.raises(
            DatasetError, match=r"can't be unpacked .(the header of a file claims|it holds a sparse file)"
        ):
            unpack(tmp_path / "a.tar.gz", tmp_path / "set", 10**6)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert untouched(tmp_path / "set")


def test_a_long_name_is_read(tmp_path):
    name = f"{'d' * 200}/{'x' * 200}.png"
    assert unpack(write_tar(tmp_path / "a", member(name, b"x")), tmp_path / "set", 10) == {name: 1}


def test_an_xz_whose_decoder_would_fill_the_memory_is_refused(tmp_path):
    tar = write_tar(tmp_path / "a.tar", member("a.png", bytes(1000)))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    small = lzma.compress(tar.read_bytes(), filters=filters)
    # Byte 4 of the block's header is the size of the dictionary: 0x28 stands for 4 GiB. The header ends in its CRC.
    header = bytearray(small[12:24])
    header[4] = 0x28
    header[8:12] = zlib.crc32(header[:8]).to_bytes(4, "little")
    bomb = tmp_path / "bomb.tar.xz"
    bomb.write_bytes(small[:12] + header + small[24:])
    with pytest.raises(DatasetError, match=r"can.t be unpacked .Memory usage limit exceeded"):
        unpack(bomb, tmp_path / "set", 10**6)
    assert untouched(tmp_path / "set")


def test_an_xz_in_several_parts_is_read_as_one(tmp_path):
    content = os.urandom(3 << 20)
    tar = write_tar(tmp_path / "a.tar", member("a.png", content), member("b.png", b"1" * 512)).read_bytes()
    parts = [lzma.compress(tar[:700_000]), bytes(8), lzma.compress(tar[700_000:], preset=9 | lzma.PRESET_EXTREME)]
    (tmp_path / "a.tar.xz").write_bytes(b"".join(parts))
    assert unpack(tmp_path / "a.tar.xz", tmp_path / "set", 10**7) == {"a.png": len(content), "b.png": 512}
    assert (tmp_path / "set" / "a.png").read_bytes() == content


def test_a_sparse_file_of_the_pax_format_is_refused(tmp_path):
    info = tarfile.TarInfo("a.png")
    info.size = 512
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"1\n0\n1\n".ljust(512, b"\0")))
    with pytest.raises(DatasetError, match="it holds a sparse file"):
        unpack(tmp_path / "a.tar", tmp_path / "set", 10**6)
    assert untouched(tmp_path / "set")
