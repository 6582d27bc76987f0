"""Counts the cores that this process may use: not those of the machine, but those of its affinity and control groups.

joblib reads the affinity and the limit of the outermost control group that a container sees. Limits of groups within
it, which a batch system or systemd (``CPUQuota=``) sets, hold too: the smallest one of all groups around the process
counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The number of cores that this process may use, at least 1; a part of a core counts as one."""
    from joblib import cpu_count  # here, because every command imports this module

    return max(1, min([cpu_count(), *(math.ceil(quota) for quota in quotas())]))


def quotas() -> list[float]:
    """The cores' worth of time that each control group around this process allows; nothing for one without a limit."""
    return [quota for group, version in _groups() if (quota := _quota(group, version)) is not None]


def _groups() -> Iterator[tuple[Path, int]]:
    """The directories of the groups around this process that may limit its time, and the version of their files."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        number, controllers, place = [*line.split(":", 2), "", ""][:3]
        if (number, controllers) == ("0", ""):  # version 2; `unified` is where systems that use both versions have it
            homes, version = {_GROUPS, _GROUPS / "unified"}, 2
        elif "cpu" in controllers.split(","):
            homes, version = {_GROUPS / controllers, _GROUPS / "cpu"}, 1
        else:
            continue
        for home in homes:
            group = home / place.lstrip("/")
            yield from ((each, version) for each in (group, *group.parents) if home in (each, *each.parents))


def _quota(group: Path, version: int) -> float | None:
    try:
        if version == 2:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        share = int(quota) / int(period)  # "max" in version 2 and -1 in version 1 stand for no limit
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None
