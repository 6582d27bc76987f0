"""An HTTP server on 127.0.0.1 that serves one file, with the faults of real servers if a test wants them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Faults:
    """The served file and the faults of the server.

    Attributes:
        content: Content of the file.
        cuts: Bytes of the body after which the connection is cut, one per answer; later answers are complete.
        statuses: Statuses answered before anything is served, in order.
        phrase: The words behind the status in the first line of the answer; None for the usual ones.
        ranges: Whether requests of a range are answered with that range.
        range_shift: Added to the first byte of every range that is sent.
        announced: A wrong Content-Length to send; None for the right one.
        lengths: Whether to send a Content-Length.
        location: Address to redirect to; empty for none.
        content_type: The Content-Type.
        version: The ETag; empty for none.
        requests: The headers of every request, in order.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    phrase: str | None = None
    ranges: bool = True
    range_shift: int = 0
    announced: int | None = None
    lengths: bool = True
    location: str = ""
    content_type: str = "application/octet-stream"
    version: str = '"one"'
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def faulty_server(faults: Faults) -> Iterator[str]:
    """Serve the file; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            faults.requests.append({name.lower(): value for name, value in self.headers.items()})
            self.close_connection = True
            if faults.statuses:
                self.answer(faults.statuses.pop(0), b"sorry")
            elif faults.location and self.path != "/elsewhere":
                self.answer(302, b"", location=faults.location)
            else:
                self.serve()

        def serve(self) -> None:
            wanted = self.headers.get("Range", "")
            condition = self.headers.get("If-Range", faults.version)
            if wanted and faults.ranges and condition == faults.version:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
                whole = len(faults.content)
                if first >= whole:
                    self.answer(416, b"", content_range=f"bytes */{whole}")
                    return
                first += faults.range_shift
                body = faults.content[first:]
                self.answer(206, body, content_range=f"bytes {first}-{whole - 1}/{whole}")
            else:
                self.answer(200, faults.content)

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            cut = faults.cuts.pop(0) if faults.cuts and status in {200, 206} else len(body)
            self.send_response(status, faults.phrase)
            if faults.version:
                self.send_header("ETag", faults.version)
            self.send_header("Content-Type", faults.content_type)
            self.send_header("Connection", "close")
            if faults.lengths:
                length = len(body) if faults.announced is None or status != 200 else faults.announced
                self.send_header("Content-Length", str(length))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-").title(), value)
            self.end_headers()
            self.wfile.write(body[:cut])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/set.tar"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
