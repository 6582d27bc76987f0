"""Fetching one large file over https, resumable: a cut connection goes on where it was cut, now or next time.

What has arrived lies in ``<file>.part``, with the server's mark of the version beside it; the file gets its name
when all of it is there. Whether it is the right one is for the checksum to say, not for this module.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

import requests

from datasets.errors import DatasetError
from datasets.storage.atomic import unwritable

Progress = Callable[[int, int], None]
"""Called with (bytes that are there, bytes in all or 0 if unknown)."""

_CHUNK = 1 << 16
_WORTHWHILE = 1 << 20
"""An attempt that brought this many bytes does not count as failed: a long download may be cut many times."""

_CURE = "Free some space or check the permissions, then run the same again: it goes on where it stopped."
_TIMEOUTS = (20, 60)  # seconds: until connected, until the next bytes
_REDIRECTS = 5
_REDIRECTED = {301, 302, 303, 307, 308}
_BUSY = {408, 425, 429}
_SERVER_FAULTS = 500  # and above
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-\d+|\*)/(?P<total>\d+|\*)")


class _InterruptedError(Exception):
    """The attempt failed, but another one may succeed."""


def fetch_file(
    url: str,
    file: Path,
    *,
    size: int = 0,
    limit: int = 0,
    progress: Progress | None = None,
    attempts: int = 6,
    pause: float = 1.0,
    loopback_http: bool = False,
) -> None:
    """Fetch one file.

    Args:
        url: Address, https only; so are the addresses that it redirects to.
        file: File to write; its directory exists.
        size: Bytes that it should have; 0 if unknown.
        limit: Bytes that it can't exceed; 0: no limit.
        progress: Told how far it got.
        attempts: Failures in a row after which it gives up; the next call goes on from there.
        pause: Seconds before the second attempt, doubled each time.
        loopback_http: Also allow http to 127.0.0.1, for tests of this module.

    Raises:
        DatasetError: If the address is not https, the server refuses, sends something else or too much, or the
            connection fails too often.
        StorageError: If the file can't be written.
    """
    transfer = _Transfer(url, file.with_name(f"{file.name}.part"), size, limit or size, progress, loopback_http)
    failures = 0
    with requests.Session() as session:
        while True:
            before = transfer.received()
            try:
                transfer.attempt(session)
                break
            except requests.exceptions.SSLError as error:
                raise DatasetError(f"{url}: refused, because the connection is not secure ({error}).") from error
            except (_InterruptedError, requests.ConnectionError, requests.Timeout) as error:
                reason: Exception = error
            except requests.exceptions.ChunkedEncodingError as error:  # how requests calls a cut
                reason = error
            except requests.RequestException as error:
                raise DatasetError(f"{url}: could not be fetched ({error}).") from error
            except OSError as error:
                raise unwritable(transfer.part, error, _CURE) from error
            failures = 1 if transfer.received() - before >= _WORTHWHILE else failures + 1
            if failures >= attempts:
                raise DatasetError(
                    f"{url}: the connection failed {failures} times in a row ({reason}). {transfer.received():,} "
                    f"bytes are kept in {transfer.part}: run the same again to go on from there."
                ) from reason
            time.sleep(pause * 2 ** (failures - 1))
    transfer.part.replace(file)
    transfer.mark.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Transfer:
    """One file on its way; attributes as the arguments of ``fetch_file``."""

    url: str
    part: Path
    size: int
    limit: int
    progress: Progress | None
    loopback_http: bool

    @property
    def mark(self) -> Path:
        """File with the server's mark of the version that ``part`` belongs to."""
        return self.part.with_name(f"{self.part.name}.version")

    def received(self) -> int:
        """Bytes that are there."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def attempt(self, session: requests.Session) -> None:
        """Get what is missing.

        Raises:
            _InterruptedError: If another attempt is worth it.
        """
        have = self.received()
        with self._response(session, have) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if have and _content_range(response)[1] == have:
                    return  # all of it was there already
                self._start_over("the part that was there is not the start of the file")
            if response.status_code == requests.codes.partial_content:
                first, total = _content_range(response)
                if first != have:
                    self._start_over("the server sent another range than asked for")
            elif response.status_code == requests.codes.ok:
                have, total = 0, _content_length(response)
            else:
                self._explain(response)
            self._refuse_wrong(response, total)
            if not have:
                self._begin(response)
            have = self._receive(response, have, total)
        if total and have != total:
            raise _InterruptedError(f"{have:,} of {total:,} bytes arrived")

    def _response(self, session: requests.Session, have: int) -> requests.Response:
        """Ask for everything from byte ``have`` on, wherever the address redirects to."""
        headers = {"Accept-Encoding": "identity"}  # compressed, positions in the file would mean nothing
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.mark.is_file():
                headers["If-Range"] = self.mark.read_text(encoding="latin-1")
        address = self.url
        for _ in range(_REDIRECTS + 1):
            self._refuse_insecure(address)
            response = session.get(address, headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=False)
            if response.status_code not in _REDIRECTED or "location" not in response.headers:
                return response
            response.close()
            address = urljoin(address, response.headers["location"])
        raise DatasetError(f"{self.url}: redirected more than {_REDIRECTS} times.")

    def _receive(self, response: requests.Response, have: int, total: int) -> int:
        """Write the body behind the first ``have`` bytes; bytes that are there at the end."""
        with self.part.open("r+b" if have else "wb") as sink:
            sink.seek(have)
            for chunk in response.iter_content(_CHUNK):
                sink.write(chunk)
                have += len(chunk)
                if self.limit and have > self.limit:
                    self._forget()
                    raise DatasetError(f"{self.url}: refused, because it sends more than {self.limit:,} bytes.")
                if self.progress is not None:
                    self.progress(have, total or self.size)
        return have

    def _begin(self, response: requests.Response) -> None:
        """Throw away what was there and note the version of what comes."""
        self._forget()  # first: an old part must never stand beside a new mark
        mark = response.headers.get("etag", "")
        mark = response.headers.get("last-modified", "") if not mark or mark.startswith("W/") else mark
        if mark:
            self.mark.write_text(mark, encoding="latin-1")

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)

    def _start_over(self, why: str) -> NoReturn:
        self._forget()
        raise _InterruptedError(why)

    def _refuse_insecure(self, address: str) -> None:
        parts = urlsplit(address)
        loopback = self.loopback_http and parts.scheme == "http" and parts.hostname == "127.0.0.1"
        if parts.scheme != "https" and not loopback:
            led = "" if address == self.url else f", where {self.url} leads,"
            raise DatasetError(f"{address}{led} is not https: datasets are fetched by https only.")

    def _refuse_wrong(self, response: requests.Response, total: int) -> None:
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise DatasetError(
                f"{self.url}: the server sends a web page instead of the file: a form or a log-in, maybe."
            )
        if self.size and total and total != self.size:
            raise DatasetError(
                f"{self.url}: the server announces {total:,} bytes, but the file should have {self.size:,}: it is "
                "another version."
            )

    def _explain(self, response: requests.Response) -> NoReturn:
        answer = f"the server answers {response.status_code} {response.reason}"
        if response.status_code in _BUSY or response.status_code >= _SERVER_FAULTS:
            raise _InterruptedError(answer)
        cause = {401: "It asks for permission", 403: "It asks for permission", 404: "The file is no longer there"}
        raise DatasetError(f"{self.url}: {answer}. {cause.get(response.status_code, 'It does not give the file')}.")


def _content_range(response: requests.Response) -> tuple[int, int]:
    """(first byte, bytes in all) as the server states them; -1 and 0 where it does not."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None:
        return -1, 0
    total = match["total"]
    return int(match["first"] or -1), 0 if total == "*" else int(total)


def _content_length(response: requests.Response) -> int:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0
