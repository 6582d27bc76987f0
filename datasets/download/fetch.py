"""Fetches one large file over https. After a cut connection it continues where it stopped, at once or in a later call.

The received bytes are in ``<file>.part``, next to a file with the server's mark of the version. The file gets its name
when it is complete. This module does not check whether it is the right file; the checksum does.
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
"""Called with (number of bytes received, number of all bytes or 0 if unknown)."""

_CHUNK = 1 << 16
_WORTHWHILE = 1 << 20
"""An attempt that received this many bytes resets the count of failures, as a long download may be cut many times."""

_CURE = "Free some space or check the permissions, then run the same command again: it continues where it stopped."
_TIMEOUTS = (20, 60)  # in seconds, for the connection and for the next bytes
_REDIRECTS = 5
_REDIRECTED = {301, 302, 303, 307, 308}
_BUSY = {408, 425, 429}
_SERVER_FAULTS = 500  # and above
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>[0-9]{1,18})-[0-9]{1,18}|\*)/(?P<total>[0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


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
        url: Address. It, and every address that it redirects to, must be https.
        file: File to write. Its directory must exist.
        size: Expected size in bytes; 0 if unknown.
        limit: Largest permitted size in bytes; 0 for no limit other than ``size``.
        progress: Called after every received chunk.
        attempts: Number of failures in a row after which it gives up. The next call continues from there.
        pause: Seconds before the second attempt; doubled before each further one.
        loopback_http: Whether http to 127.0.0.1 is allowed, for tests of this module.

    Raises:
        DatasetError: If the address is not https, the server refuses, sends something else or too many bytes, or the
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
            except requests.exceptions.ChunkedEncodingError as error:  # raised by requests for a cut connection
                reason = error
            except requests.RequestException as error:
                raise DatasetError(f"{url}: could not be fetched ({error}).") from error
            except OSError as error:
                raise unwritable(transfer.part, error, _CURE) from error
            failures = 1 if transfer.received() - before >= _WORTHWHILE else failures + 1
            if failures >= attempts:
                raise DatasetError(
                    f"{url}: the connection failed {failures} times in a row ({reason}). {transfer.received():,} "
                    f"bytes are kept in {transfer.part}: run the same command again to continue from there."
                ) from reason
            time.sleep(pause * 2 ** (failures - 1))
    transfer.part.replace(file)
    transfer.mark.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Transfer:
    """The transfer of one file. Its attributes are the arguments of ``fetch_file``; ``part`` is ``<file>.part``."""

    url: str
    part: Path
    size: int
    limit: int
    progress: Progress | None
    loopback_http: bool

    @property
    def mark(self) -> Path:
        """File with the server's mark (``ETag`` or ``Last-Modified``) of the version that ``part`` belongs to."""
        return self.part.with_name(f"{self.part.name}.version")

    def received(self) -> int:
        """Number of bytes in ``part``."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def attempt(self, session: requests.Session) -> None:
        """Fetch the missing bytes.

        Raises:
            _InterruptedError: If another attempt may succeed.
        """
        have = self.received()
        with self._response(session, have) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if have and _content_range(response)[1] == have:
                    return  # the part is already complete
                self._start_over("the part from before is not the start of the file")
            if response.status_code == requests.codes.partial_content:
                first, total = _content_range(response)
                if first != have:
                    self._start_over("the server sent another range than requested")
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
        """Request all bytes from byte ``have`` on, following redirects."""
        headers = {"Accept-Encoding": "identity"}  # positions in a compressed stream are not positions in the file
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
        """Write the body after the first ``have`` bytes; returns the number of bytes in the part afterwards."""
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
        """Delete the old part and store the version of the new one."""
        self._forget()  # first, because an old part must never have a new mark
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
            source = "" if address == self.url else f", to which {self.url} redirects,"
            raise DatasetError(f"{address}{source} is not https: datasets are fetched by https only.")

    def _refuse_wrong(self, response: requests.Response, total: int) -> None:
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise DatasetError(
                f"{self.url}: the server sends a web page instead of the file, possibly a form or a log-in."
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
        cause = {401: "It requires permission", 403: "It requires permission", 404: "The file is no longer there"}
        raise DatasetError(f"{self.url}: {answer}. {cause.get(response.status_code, 'It does not provide the file')}.")


def _content_range(response: requests.Response) -> tuple[int, int]:
    """(first byte, number of all bytes) as the server states them; -1 and 0 if it does not."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None:
        return -1, 0
    total = match["total"]
    return int(match["first"] or -1), 0 if total == "*" else int(total)


def _content_length(response: requests.Response) -> int:
    length = response.headers.get("content-length", "")
    return int(length) if _LENGTH.fullmatch(length) else 0
