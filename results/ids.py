"""Canonical JSON and the short ids made from it: same content, same bytes, same id."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces. NaN and infinities are refused: no record may hold them.

    Raises:
        ValueError: If the value holds NaN or an infinity.
        TypeError: If it can't be written as JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def short_id(value: Any) -> str:
    """The first 12 hex digits of sha256 over the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]
