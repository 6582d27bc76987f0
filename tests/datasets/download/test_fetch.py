import random

import pytest
import requests

from datasets.download import fetch as fetch_module
from datasets.download.fetch import fetch_file
from datasets.errors import DatasetError, StorageError
from tests.support.faulty_server import Faults, faulty_server

CONTENT = random.Random(0).randbytes(500_000)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def faults():
    return Faults(CONTENT)


@pytest.fixture
def url(faults):
    with faulty_server(faults) as address:
        yield address


@pytest.fixture
def file(tmp_path):
    return tmp_path / "set.tar"


def fetch(url, file, **options):
    fetch_file(url, file, **({"pause": 0.0, "loopback_http": True} | options))


def ranges(faults):
    return [headers.get("range", "") for headers in faults.requests]


def alone(file):
    return [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_file_is_fetched_and_progress_is_reported(url, file, faults):
    steps = []
    fetch(url, file, size=len(CONTENT), progress=lambda done, total: steps.append((done, total)))
    assert file.read_bytes() == CONTENT
    assert alone(file)
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert faults.requests[0]["accept-encoding"] == "identity"


def test_a_cut_connection_goes_on_where_it_was_cut(url, file, faults):
    faults.cuts = [200_000, 150_000, 0]
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert alone(file)
    first, second, third, fourth = ranges(faults)
    assert first == ""
    assert 100_000 < int(second[6:-1]) <= 200_000
    assert int(second[6:-1]) < int(third[6:-1]) <= 350_000
    assert fourth == third
    assert faults.requests[1]["if-range"] == faults.version


def test_after_too_many_cuts_the_next_call_goes_on(url, file, faults):
    faults.cuts = [200_000, 0, 0]
    with pytest.raises(
        DatasetError, match=r"failed 3 times in a row .* bytes are kept in .*set\.tar\.part: run the same"
    ):
        fetch(url, file, attempts=3)
    assert not file.exists()
    kept = file.with_name("set.tar.part").stat().st_size
    fetch(url, file)
    assert ranges(faults)[-1] == f"bytes={kept}-"
    assert file.read_bytes() == CONTENT
    assert alone(file)


def test_cuts_do_not_count_as_failures_while_the_download_advances(url, file, faults, monkeypatch):
    monkeypatch.setattr(fetch_module, "_WORTHWHILE", 60_000)
    faults.cuts = [100_000] * 4
    fetch(url, file, attempts=2)
    assert file.read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_starts_over(url, file, faults):
    faults.ranges, faults.cuts = False, [200_000]
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert ranges(faults)[1].startswith("bytes=")


def test_a_file_that_changed_meanwhile_starts_over(url, file, faults):
    faults.cuts = [200_000]
    with pytest.raises(DatasetError, match="1 times in a row"):
        fetch(url, file, attempts=1)
    faults.content, faults.version = CONTENT[::-1], '"two"'
    fetch(url, file)
    assert file.read_bytes() == CONTENT[::-1]


def test_without_a_mark_of_the_version_it_still_resumes(url, file, faults):
    faults.version, faults.cuts = "", [200_000]
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert "if-range" not in faults.requests[1]


def test_another_range_than_requested_is_not_written(url, file, faults):
    faults.cuts, faults.range_shift = [200_000], 7
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert len(faults.requests) == 3


def test_a_part_that_is_complete_already_is_kept(url, file, faults):
    file.with_name("set.tar.part").write_bytes(CONTENT)
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert ranges(faults) == [f"bytes={len(CONTENT)}-"]


def test_a_part_that_is_too_long_is_thrown_away(url, file, faults):
    file.with_name("set.tar.part").write_bytes(CONTENT + b"more")
    fetch(url, file)
    assert file.read_bytes() == CONTENT


def test_a_server_that_announces_too_many_bytes_is_a_cut_and_then_accepted(url, file, faults):
    faults.announced = len(CONTENT) + 1000
    fetch(url, file)
    assert file.read_bytes() == CONTENT


def test_another_size_than_known_is_refused_before_anything_is_written(url, file, faults):
    with pytest.raises(DatasetError, match="announces 500,000 bytes, but the file should have 499,999"):
        fetch(url, file, size=499_999)
    assert list(file.parent.iterdir()) == []


def test_a_stream_without_an_end_stops_at_the_limit(url, file, faults):
    faults.lengths = False
    with pytest.raises(DatasetError, match="sends more than 100,000 bytes"):
        fetch(url, file, limit=100_000)
    assert list(file.parent.iterdir()) == []


def test_without_a_length_the_end_of_the_stream_ends_the_file(url, file, faults):
    faults.lengths = False
    fetch(url, file)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_asked_again(url, file, faults, status):
    faults.statuses = [status, status]
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert len(faults.requests) == 3


@pytest.mark.parametrize(
    ("status", "cause"), [(404, "no longer there"), (403, "permission"), (401, "permission"), (410, "does not provide")]
)
def test_a_refusal_is_final(url, file, faults, status, cause):
    faults.statuses = [status]
    with pytest.raises(DatasetError, match=rf"set\.tar: the server answers {status} .*{cause}"):
        fetch(url, file)
    assert len(faults.requests) == 1
    assert list(file.parent.iterdir()) == []


def test_a_web_page_is_not_a_file(url, file, faults):
    faults.content_type = "text/html; charset=utf-8"
    with pytest.raises(DatasetError, match="sends a web page instead of the file"):
        fetch(url, file)
    assert not file.exists()
    assert not file.with_name("set.tar.part").exists()


def test_a_redirect_is_followed_with_its_range(url, file, faults):
    faults.location, faults.cuts = "/elsewhere", [200_000]
    fetch(url, file)
    assert file.read_bytes() == CONTENT
    assert [bool(asked) for asked in ranges(faults)] == [False, False, True, True]


@pytest.mark.parametrize("location", ["http://example.org/set.tar", "ftp://example.org/x", "file:///etc/passwd"])
def test_a_redirect_away_from_https_is_refused(url, file, faults, location):
    faults.location = location
    with pytest.raises(DatasetError, match=rf"{location}, to which http.*set\.tar redirects, is not https"):
        fetch(url, file)


def test_redirects_in_a_circle_end(url, file, faults):
    faults.location = "/set.tar"
    with pytest.raises(DatasetError, match="redirected more than 5 times"):
        fetch(url, file)


@pytest.mark.parametrize("address", ["ftp://example.org/set.tar", "file:///set.tar", "http://127.0.0.1.example.org/x"])
def test_only_https_and_http_to_this_machine_where_it_is_allowed(file, address):
    with pytest.raises(DatasetError, match="is not https"):
        fetch(address, file)


def test_http_to_this_machine_is_not_allowed_by_default(url, file, faults):
    with pytest.raises(DatasetError, match="datasets are fetched by https only"):
        fetch_file(url, file)
    assert faults.requests == []


def test_a_server_that_does_not_answer_is_named(file):
    with faulty_server(Faults(b"")) as address:
        pass
    with pytest.raises(DatasetError, match="failed 2 times in a row"):
        fetch(address, file, attempts=2)


def test_a_part_that_cant_be_written_is_named(url, file):
    with pytest.raises(StorageError, match=r"gone/set\.tar\.part: can't be written"):
        fetch(url, file.parent / "gone" / "set.tar")


def test_a_server_without_a_secure_connection_is_refused(url, file):
    with pytest.raises(DatasetError, match="not secure"):
        fetch(url.replace("http:", "https:"), file)


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 19, "\u0663", "-1", "1.5", ""])
def test_a_length_that_no_file_has_counts_as_not_stated(number):
    response = requests.Response()
    response.headers["content-length"] = number
    response.headers["content-range"] = f"bytes {number}-{number}/{number}"
    assert fetch_module._content_length(response) == 0
    assert fetch_module._content_range(response) == (-1, 0)
