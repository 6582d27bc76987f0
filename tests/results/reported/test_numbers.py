import csv
from collections import defaultdict

import pytest

from results.metrics.catalogue import METRICS
from results.reported.numbers import HOME, all_reported, matches, reported, reported_categories


def test_the_unified_numbers_of_the_uniad_paper():
    first = reported("uniad", "mvtec", "unified", "I-AUROC")[0]
    assert (first.value, first.kind) == (pytest.approx(0.965), "paper")
    assert "UniAD" in first.source
    assert reported("uniad", "mvtec", "unified", "P-AUROC")[0].value == pytest.approx(0.968)
    assert reported("padim", "mvtec", "unified", "I-AUROC")[0].value == pytest.approx(0.842)
    assert reported("uniad", "mvtec", "unified", "I-AUROC", "bottle")[0].value == pytest.approx(0.997)


def test_every_number_has_a_source_and_known_names():
    assert len(all_reported()) > 1000
    for entry in all_reported():
        assert entry.source
        assert entry.metric in METRICS
        assert entry.setting in ("unified", "separate")
        assert 0 < entry.value <= 1
        assert entry.std is None or 0 <= entry.std < 0.1


def test_suspect_and_secondhand_columns_are_left_out():
    for entry in all_reported():
        assert "SUSPECT" not in entry.source
        assert "third-party" not in entry.source
    # the copied column whose metal_nut does not fit its mean
    values = [e.value for e in reported("uniad", "mvtec", "unified", "P-AUROC", "metal_nut")]
    assert min(values) > 0.85


def test_categories_average_to_the_printed_mean():
    groups = defaultdict(dict)
    for e in all_reported():
        groups[e.method, e.dataset, e.setting, e.metric, e.source][e.category] = e.value
    checked = 0
    for key, group in groups.items():
        known = [group[c] for c in reported_categories(key[1]) if c in group]
        if "mean" in group and len(known) == len(reported_categories(key[1])) > 1:
            tolerance = 0.0045 if key[0] == "fcdd" else 0.0012  # FCDD is printed without decimals
            assert sum(known) / len(known) == pytest.approx(group["mean"], abs=tolerance), key
            checked += 1
    assert checked > 50


def test_no_number_occurs_twice():
    keys = [(e.method, e.dataset, e.category, e.setting, e.metric, e.source) for e in all_reported()]
    assert len(keys) == len(set(keys))


def test_published_means_match_only_the_whole_dataset():
    assert len(reported_categories("mvtec")) == 15
    assert len(reported_categories("visa")) == 12
    assert matches("mvtec", sorted(reported_categories("mvtec")))
    assert not matches("mvtec", ("bottle", "cable"))
    assert matches("cifar10-01234", ("01234",))
    assert not matches("my-parts", ("a", "b"))
    assert reported("uniad", "my-parts", "unified", "I-AUROC") == []


def test_files_stay_small_and_have_one_header():
    files = sorted(HOME.glob("*.csv"))
    assert sum(path.stat().st_size for path in files) < 400_000
    headers = {tuple(next(csv.reader(path.open(encoding="utf-8")))) for path in files}
    assert len(headers) == 1
