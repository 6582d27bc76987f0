"""Claims as other processes and machines write them."""

from __future__ import annotations

import os
import time

from bench.dispatch.claims import Claims, Holder

FIT = "0123456789ab"
ELSEWHERE = Holder("gpu-3", "another boot", 4711, "1", "theirs")


def write_claim(claims: Claims, holder: Holder, age: float = 0.0, number: int = 1) -> None:
    """Write the claim of ``holder`` to ``FIT``, last touched ``age`` seconds ago."""
    file = claims.directory / f"{FIT}.{number}"
    assert claims._create(file, holder)
    os.utime(file, (time.time() - age, time.time() - age))
