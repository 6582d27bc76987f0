"""Properties of the processor, as the operating system reports them."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def processor(field: str) -> str:
    """A field (``model name`` or ``vendor_id``) of the first processor in Linux's list.

    On other systems it is Python's ``platform.processor()``. Windows reports everything in one string, such as "AMD64
    Family 26 Model 2 Stepping 1, AuthenticAMD". The text is empty if nothing is known.
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
