"""The bytes of a record's file: its JSON, closed by a digest of itself, so that an edited number is noticed.

The name of a file is a hash of what was asked for, not of what came out; without the digest nobody would see that an
AUROC was typed over. It stands last, on a line of its own, and covers every byte before it, line ends aside: hashing
the text costs 8 microseconds a record, hashing the parsed content in canonical form 190. Records that are older than
the digest have none and are taken as they are.
"""

from __future__ import annotations

import hashlib
import re

from results.record import RunRecord

_END = "\n}"
_DIGEST = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n\}\s*$')


class EditedError(ValueError):
    """The content is not what its digest was made of."""


def encode_record(record: RunRecord) -> bytes:
    """The file of a record."""
    text = record.model_dump_json(indent=1)
    return f'{text.removesuffix(_END)},\n "digest": "{_digest(text.encode())}"{_END}\n'.encode()


def decode_record(content: bytes) -> RunRecord:
    """The record of a file.

    Raises:
        EditedError: If the content was changed after it was written.
        ValidationError: If it is no record.
    """
    plain = content.replace(b"\r\n", b"\n")
    found = _DIGEST.search(plain, max(0, len(plain) - 120))
    if found is None:
        return RunRecord.model_validate_json(content)
    body = plain[: found.start()] + _END.encode()
    if _digest(body) != found[1].decode():
        raise EditedError("its content does not fit its digest: it was edited, or damaged, after the run")
    return RunRecord.model_validate_json(body)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
