"""Claims: one holder at a time, on every file system and after every kind of death."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.dispatch import claims as claims_module
from bench.dispatch.claims import Claim, Claims, Holder
from datasets.storage.temporary_files import unfinished
from tests.support.claims import ELSEWHERE, FIT, write_claim


def test_a_fit_has_one_holder_at_a_time_and_nothing_is_left_behind(tmp_path):
    mine, theirs = Claims(tmp_path, "mine"), Claims(tmp_path, "theirs")
    claim = mine.take(FIT)
    assert isinstance(claim, Claim)
    with claim:
        refused = theirs.take(FIT)
        assert refused == Holder.here("mine")
        assert refused.describe() == f"process {os.getpid()} on {refused.machine}"
        assert theirs.living() == {FIT: refused}
        assert isinstance(theirs.take("another"), Claim)
    assert mine.living().keys() == {"another"}
    theirs.sweep()
    assert isinstance(mine.take(FIT), Claim), "given up, so free again"


def test_of_many_simultaneous_claims_one_succeeds(tmp_path, dead):
    write_claim(Claims(tmp_path, "theirs"), dead)
    barrier, won = threading.Barrier(8), []

    def run(number: int) -> None:
        barrier.wait()
        claim = Claims(tmp_path, f"session {number}").take(FIT)
        if isinstance(claim, Claim):
            won.append(claim)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [path.name for path in (tmp_path / ".claims").iterdir()] == [f"{FIT}.2"]


def test_the_claim_of_a_process_that_died_here_is_taken_over_at_once(tmp_path, dead):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, dead)
    assert claims.living() == {}
    claim = claims.take(FIT)
    assert isinstance(claim, Claim)
    assert claim.holder.deaths == 0, "it died over another call's run"
    claim.release()
    assert not list(claims.directory.iterdir())


def test_a_process_number_that_is_used_again_does_not_keep_a_claim_alive(tmp_path):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, replace(Holder.here("theirs"), born="long ago"))
    assert isinstance(claims.take(FIT), Claim)


def test_a_claim_of_another_machine_lives_as_long_as_it_is_touched(tmp_path):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, ELSEWHERE, age=claims_module.STALE_SECONDS - 60)
    assert claims.take(FIT) == ELSEWHERE
    claims.sweep()
    assert claims.living() == {FIT: ELSEWHERE}
    old = time.time() - claims_module.STALE_SECONDS - 60
    os.utime(claims.directory / f"{FIT}.1", (old, old))
    assert isinstance(claims.take(FIT), Claim)
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.2"], "no clock is left"


def test_a_holder_touches_its_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_module, "BEAT_SECONDS", 0.02)
    claims = Claims(tmp_path, "mine")
    claim = claims.take(FIT)
    file = claims.directory / f"{FIT}.1"
    os.utime(file, (0, 0))
    with claim:
        deadline = time.monotonic() + 20
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0


@pytest.fixture(params=["links", "no links"])
def file_system(request, monkeypatch) -> str:
    """A file system with hard links, and one without."""
    if request.param == "no links":

        def refuse(self, target):
            raise OSError(errno.EPERM, "Operation not permitted", str(target))

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    return request.param


def test_a_claim_is_complete_or_absent_at_every_moment(tmp_path, monkeypatch):
    """A process that is killed at any of its file operations leaves no half claim under a claim's name."""
    claims, seen = Claims(tmp_path, "mine"), []
    directory = claims.directory

    def look(method):
        def watched(self, *args, **kwargs):
            result = method(self, *args, **kwargs)
            for file in directory.glob(f"{FIT}.*"):
                with open(file, "rb") as stream:  # noqa: PTH123  the methods of Path are watched
                    seen.append(stream.read())
            return result

        return watched

    for name in ("write_bytes", "hardlink_to", "unlink", "open"):
        monkeypatch.setattr(Path, name, look(getattr(Path, name)))
    claim = claims.take(FIT)
    monkeypatch.undo()
    assert seen
    assert {Holder(**json.loads(content)) for content in seen} == {claim.holder}
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.1"]


def test_one_claim_succeeds_on_every_file_system(tmp_path, file_system):
    claims = Claims(tmp_path, "mine")
    file = tmp_path / ".claims" / f"{FIT}.1"
    assert claims._create(file, ELSEWHERE)
    assert not claims._create(file, Holder.here("mine"))
    assert claims.take(FIT) == ELSEWHERE
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.1"]


def test_a_link_that_was_made_but_is_reported_as_existing_counts_as_made(tmp_path, monkeypatch):
    link = Path.hardlink_to

    def ask_twice(self, target):
        link(self, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(Path, "hardlink_to", ask_twice)
    assert isinstance(Claims(tmp_path, "mine").take(FIT), Claim)


def test_an_empty_claim_is_taken_over_soon(tmp_path):
    """Without hard links, a process that is killed before it writes leaves an empty claim."""
    claims = Claims(tmp_path, "mine")
    claims.directory.mkdir()
    file = claims.directory / f"{FIT}.1"
    file.write_bytes(b"")
    assert claims.take(FIT) == Holder()
    age = time.time() - claims_module.EMPTY_SECONDS - 1
    os.utime(file, (age, age))
    assert isinstance(claims.take(FIT), Claim)


def test_sweeping_removes_half_written_claims_of_dead_processes_only(tmp_path, dead_writer):
    claims = Claims(tmp_path, "mine")
    claims.directory.mkdir()
    mine, theirs = unfinished(claims.directory / f"{FIT}.1"), dead_writer(claims.directory / f"{FIT}.2")
    mine.write_bytes(b"")
    theirs.write_bytes(b"")
    claims.sweep()
    assert list(claims.directory.iterdir()) == [mine]
    mine.unlink()
    claims.sweep()
    assert not list(claims.directory.iterdir())


def test_deaths_within_a_call_are_counted_and_sweeping_removes_claims_of_dead_processes(tmp_path, dead):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, replace(dead, session="mine", deaths=1))
    assert claims.orphaned() == {FIT}
    assert claims.take(FIT).holder.deaths == 2
    write_claim(claims, dead, number=3)
    claims.sweep()
    assert not list(claims.directory.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        f"{FIT}.sync-conflict-20250101-120000-ABCDEFG.1",
        f"{FIT}.1.sync-conflict-20250101-120000-ABCDEFG",
        f"{FIT} (copy).1",
        f"{FIT}.1 (conflicted copy)",
        f"{FIT}.\u0661",
        f"{FIT}.01",
        f"{FIT}.{'9' * 40}",
        f"{FIT}.{'9' * 200}",
    ],
)
def test_files_with_other_names_are_no_claims(tmp_path, name):
    claims = Claims(tmp_path, "mine")
    claims.directory.mkdir()
    (claims.directory / name).write_text("{}")
    assert claims.living() == {}
    claim = claims.take(FIT)
    assert isinstance(claim, Claim)
    claim.release()
    claims.sweep()
    assert [path.name for path in claims.directory.iterdir()] == [name]


def test_a_dead_claim_with_the_last_number_is_taken_over(tmp_path, dead):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, dead, number=999_999_999)
    assert isinstance(claims.take(FIT), Claim)
    assert [path.name for path in claims.directory.iterdir()] == [f"{FIT}.1"]


def test_a_directory_with_the_name_of_a_claim_is_passed_over(tmp_path):
    claims = Claims(tmp_path, "mine")
    directory = claims.directory / f"{FIT}.7"
    directory.mkdir(parents=True)
    os.utime(directory, (time.time() - 4000,) * 2)
    for _ in range(2):
        claim = claims.take(FIT)
        assert isinstance(claim, Claim)
        with claim:
            assert isinstance(Claims(tmp_path, "theirs").take(FIT), Holder)
    assert [path.name for path in claims.directory.iterdir()] == [directory.name]


def test_a_claim_from_the_future_is_not_waited_for(tmp_path):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, ELSEWHERE, age=-3600)
    assert claims.living() == {}
    assert isinstance(claims.take(FIT), Claim)


@pytest.mark.parametrize(
    "content",
    ["[]", "[" * 5000, '{"process": "x"}', '{"process": 1e99}', '{"machine": []}', '{"session": {}}', "9" * 5000],
)
def test_a_claim_that_names_no_holder_counts_until_it_is_stale(tmp_path, content):
    claims = Claims(tmp_path, "mine")
    claims.directory.mkdir()
    file = claims.directory / f"{FIT}.1"
    file.write_text(content)
    assert claims.take(FIT) == Holder()
    assert claims.living() == {FIT: Holder()}
    old = time.time() - claims_module.STALE_SECONDS - 60
    os.utime(file, (old, old))
    assert isinstance(claims.take(FIT), Claim)


def test_a_claim_of_a_newer_version_is_read(tmp_path):
    claims = Claims(tmp_path, "mine")
    write_claim(claims, ELSEWHERE)
    file = claims.directory / f"{FIT}.1"
    file.write_text(json.dumps({**json.loads(file.read_text()), "novelty": 1}))
    assert claims.living() == {FIT: ELSEWHERE}


def test_the_directory_stays_so_that_claims_made_and_given_up_at_once_never_fail(tmp_path):
    errors = []

    def run(number: int) -> None:
        claims = Claims(tmp_path, f"session {number}")
        try:
            for _ in range(40):
                claim = claims.take(f"fit{number}")
                assert isinstance(claim, Claim)
                claim.release()
                claims.sweep()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / ".claims").is_dir()
