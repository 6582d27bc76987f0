"""Cells: mean and std over seeds, and blanks with their reasons."""

from __future__ import annotations

import pytest

from tests.support.records import make_record, make_row, one_row


def test_one_seed_prints_no_spread():
    assert one_row(make_row(seeds=(0,))).cell("unified", "PRO").text() == "90.0"


def test_a_deterministic_fit_has_a_spread_of_zero():
    cell = one_row(make_row(seeds=(0,), deterministic=True)).cell("separate", "PRO")
    assert cell.text() == "90.0 ± 0.0"
    assert "deterministic" in cell.note()


def test_a_failed_run_counts_as_missing_and_never_as_zero():
    records = make_row()
    records[0] = make_record(setting="unified", seed=0, failed=True)
    row = one_row(records)
    cell = row.cell("unified", "I-AUROC")
    assert cell.text() == "— 2/3"
    assert "MemoryError" in cell.note()
    assert row.finished_runs("unified") == 2


def test_a_metric_that_the_data_cannot_define_blanks_the_mean_with_its_reason():
    records = make_row(metrics={"P-AUROC": None}, reasons={"P-AUROC": "no masks"})
    row = one_row(records)
    assert row.cell("unified", "P-AUROC").mean is None
    assert row.cell("unified", "P-AUROC").badge == ""  # no run is missing
    assert "no masks" in row.cell("unified", "P-AUROC").note()
    assert row.cell("unified", "I-AUROC").mean == pytest.approx(0.9)


def test_one_blank_category_is_not_skipped():
    blank = {"cloth": None}
    row = one_row([make_record(seed=0, values=blank, reasons={"I-AUROC": "one class only"})])
    assert row.cell("unified", "I-AUROC").mean is None
    assert row.category_cell("unified", "I-AUROC", "bolt").mean == pytest.approx(0.9)
