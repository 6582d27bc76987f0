"""What the system says of its processor."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def processor(field: str) -> str:
    """A field of the first processor in Linux' list, ``model name`` or ``vendor_id``; elsewhere what Python knows.

    Windows tells all in one, as "AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD". Empty where nothing is known.
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
