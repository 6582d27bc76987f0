"""The limits of control groups, in file systems as the kernel's two versions show them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.storage import cores
from datasets.storage.cores import quotas, usable_cores

V1 = Path("/sys/fs/cgroup/cpu")
OLD = "12:memory:/job\n4:cpu,cpuacct:/job/step\n1:name=systemd:/job\n"


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes a file system of control groups: what the process belongs to, and the content of files."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN_GROUPS", tmp_path / "own")

    def write(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own, encoding="utf-8")
        for name, content in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{content}\n", encoding="utf-8")

    return write


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "400000 100000"}, 4),
        ("0::/\n", {"cpu.max": "max 100000"}, 64),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "20000 100000"}, 1),
        ("0::/\n", {"cpu.max": "6400000 50000"}, 64),
        ("0::/a/b/c\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "800000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "800000 100000"}, 2),
        ("0::/a\n", {"b/cpu.max": "100000 100000"}, 64),
        ("0::/docker/0123\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/../other\n", {"cpu.max": "300000 100000"}, 3),
        (OLD, {"cpu,cpuacct/job/cpu.cfs_quota_us": "500000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 5),
        (OLD, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        (OLD, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        (OLD, {"cpu/cpu.cfs_quota_us": "100000"}, 64),
        ("1:cpu:/x\n0::/y\n", {"unified/y/cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": ""}, 64),
        ("0::/\n", {"cpu.max": "many 100000"}, 64),
        ("0::/\n", {"cpu.max": "100000 0"}, 64),
        ("", {"cpu.max": "100000 100000"}, 64),
        ("nonsense\n", {"cpu.max": "100000 100000"}, 64),
    ],
)
def test_the_smallest_limit_of_all_groups_around_the_process_counts(groups, own, files, expected):
    groups(own, files)
    assert usable_cores() == expected


def test_without_control_groups_joblib_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 7)
    monkeypatch.setattr(cores, "_OWN_GROUPS", tmp_path / "none")
    assert usable_cores() == 7


@pytest.fixture
def real_group():
    """A control group of this machine whose outer group has a limit of one core; the inner one has none."""
    outer = V1 / f"uniboard-test-{os.getpid()}"
    try:
        (outer / "inner").mkdir(parents=True)
        (outer / "cpu.cfs_quota_us").write_text("100000", encoding="ascii")
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here ({error})")
    yield outer / "inner"
    (outer / "inner").rmdir()
    outer.rmdir()


def test_the_limit_of_a_real_group_is_seen_by_a_process_in_it(real_group):
    code = (
        f"import os; open({str(real_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "from datasets.storage.cores import usable_cores; print(usable_cores())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["1"]
    assert all(math.ceil(quota) >= 1 for quota in quotas())
