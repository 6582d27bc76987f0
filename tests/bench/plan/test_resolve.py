"""Options whose defaults depend on the dataset, the machine or other options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.options import Options
from bench.plan.resolve import resolve
from datasets.storage import cores
from methods.backbones.packaged import ARCHITECTURE as PACKAGED
from methods.backbones.shipped import FORMULA
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


def test_jobs_and_threads_are_counted_from_the_limit_of_a_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "_GROUPS", tmp_path)
    monkeypatch.setattr(cores, "_OWN_GROUPS", tmp_path / "own")
    (tmp_path / "own").write_text("0::/batch/job7\n", encoding="utf-8")
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch/cpu.max").write_text("600000 100000\n", encoding="utf-8")
    resolved = resolve(Options(preset="paper"))
    assert (resolved.jobs, resolved.threads) == (1, 6)
    assert resolve(Options(preset="paper", jobs=2)).threads == 3


def test_only_one_module_counts_cores():
    for package in ("datasets", "results", "methods", "baselines", "reports", "bench", "tests/performance"):
        for file in Path(package).rglob("*.py"):
            if file != Path("datasets/storage/cores.py"):
                assert "cpu_count" not in file.read_text(encoding="utf-8"), file


def test_default_methods_depend_on_the_kind_of_dataset():
    assert resolve(Options(dataset="synthetic")).methods == ("uniad", "padim", "patchcore")
    real = resolve(Options(dataset="mvtec")).methods
    assert real == ("uniad", "rlr", "hvq_trans", "padim", "draem", "patchcore")
    assert resolve(Options(methods=("all",))).methods == tuple(known_detectors())


SOMEWHERE = Path("weights")


@pytest.mark.parametrize(
    ("dataset", "words", "backbone", "weights"),
    [
        ("synthetic", {}, FORMULA, "shipped"),
        ("synthetic", {"weights": "shipped"}, FORMULA, "shipped"),
        ("synthetic", {"weights": "random"}, "resnet18", "random"),
        ("synthetic", {"weights": "pretrained"}, "resnet18", "pretrained"),
        ("synthetic", {"weights_dir": SOMEWHERE}, "resnet18", "file"),
        ("synthetic", {"backbone": "resnet34"}, "resnet34", "random"),
        ("folder", {}, "", ""),  # the presets' own, if they can be had
        ("synthetic", {"backbone": PACKAGED}, PACKAGED, "packaged"),
        ("folder", {"backbone": PACKAGED}, PACKAGED, "packaged"),
        ("folder", {"weights": "packaged"}, PACKAGED, "packaged"),
        ("synthetic", {"weights": "packaged"}, PACKAGED, "packaged"),
        ("folder", {"backbone": FORMULA}, FORMULA, "shipped"),
        ("folder", {"weights": "random"}, "", "random"),
        ("folder", {"weights_dir": SOMEWHERE, "backbone": "resnet34"}, "resnet34", "file"),
    ],
)
def test_backbone_and_weights_from_options(dataset, words, backbone, weights):
    resolved = resolve(Options(dataset=dataset, **words))
    assert (resolved.backbone, resolved.weights) == (backbone, weights)
