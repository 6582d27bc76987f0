"""Options whose defaults depend on the dataset, the machine or other options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.options import Options
from bench.plan.resolve import resolve
from methods.backbones.packaged import ARCHITECTURE
from methods.registry import known_detectors


def test_with_several_gpus_there_is_a_job_for_each(options, monkeypatch):
    monkeypatch.setattr("bench.plan.resolve.gpu_count", lambda device: 3 if device == "cuda" else 0)
    assert resolve(options(device="cuda", jobs=0)).jobs == 3
    assert resolve(options(device="cuda", jobs=1)).jobs == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_jobs_and_threads_are_counted_from_the_cores_that_the_process_may_use():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "os.cpu_count = lambda: 64\n"
        "from bench.plan.options import Options; from bench.plan.resolve import resolve\n"
        "options = resolve(Options()); print(options.jobs, options.threads)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout.split() == ["1", "1"]


def test_no_module_counts_cores_that_the_process_may_not_use():
    for package in ("datasets", "results", "methods", "baselines", "reports", "bench", "tests/performance"):
        for file in Path(package).rglob("*.py"):
            assert "os.cpu_count" not in file.read_text(encoding="utf-8"), file


def test_default_methods_depend_on_the_kind_of_dataset():
    assert resolve(Options(dataset="synthetic")).methods == ("uniad", "padim", "patchcore")
    real = resolve(Options(dataset="mvtec")).methods
    assert real == ("uniad", "rlr", "hvq_trans", "padim", "draem", "patchcore")
    assert resolve(Options(methods=("all",))).methods == tuple(known_detectors())


SOMEWHERE = Path("weights")


@pytest.mark.parametrize(
    ("dataset", "given", "backbone"),
    [
        ("synthetic", {}, ARCHITECTURE),
        ("synthetic", {"weights": "packaged"}, ARCHITECTURE),
        ("synthetic", {"weights": "random"}, ""),
        ("synthetic", {"weights": "pretrained"}, ""),
        ("synthetic", {"weights_dir": SOMEWHERE}, ""),
        ("synthetic", {"backbone": "resnet34"}, "resnet34"),
        ("folder", {}, ""),
        ("folder", {"backbone": ARCHITECTURE}, ARCHITECTURE),
        ("folder", {"weights": "packaged"}, ARCHITECTURE),
        ("folder", {"weights": "random"}, ""),
        ("folder", {"weights_dir": SOMEWHERE, "backbone": "resnet34"}, "resnet34"),
    ],
)
def test_the_backbone_of_all_methods_from_options(dataset, given, backbone):
    assert resolve(Options(dataset=dataset, **given)).backbone == backbone
