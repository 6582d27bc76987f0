"""Runs that are refused or stopped."""

from __future__ import annotations

from baselines.padim import PaDiM
from methods.detector import Prediction
from tests.support.benchmarks import run_all
from tests.support.miniature import write_miniature_folder


def test_scores_that_are_not_numbers_fail_the_run(options, monkeypatch):
    original = PaDiM.predict

    def broken(self, batch):
        prediction = original(self, batch)
        return Prediction(prediction.maps * float("nan"), prediction.image_scores)

    monkeypatch.setattr(PaDiM, "predict", broken)
    records = run_all(options(settings=("unified",)))
    assert records[0].status == "failed"
    assert "not finite" in records[0].failure.message


def test_an_image_that_cannot_be_read_costs_its_own_category_only(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set", categories=("bolt", "cloth", "pipe"))
    broken = sorted((root / "cloth" / "test" / "scratch").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:100])
    records = run_all(options(root=root))
    by_name = {(r.setting, r.categories): r for r in records}
    assert by_name["separate", ("bolt",)].status == "ok"
    assert by_name["separate", ("pipe",)].status == "ok"
    failed = by_name["separate", ("cloth",)]
    assert failed.status == "failed"
    assert broken.name in failed.failure.message
    assert by_name["unified", ("bolt", "cloth", "pipe")].status == "failed"
