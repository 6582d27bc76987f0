"""The statistical tests of a section: what is shown, marked and left out."""

from __future__ import annotations

import pytest

from reports.parts.comparison import comparison_part
from results.leaderboard import leaderboard
from tests.support.records import make_record

CATEGORIES = tuple("abcdefgh")


def part_of(shifts: dict[str, float], categories=CATEGORIES, seeds=(0, 1), **more):
    """Rows whose unified detector loses ``shift`` in every category."""
    made = []
    for index, (method, shift) in enumerate(shifts.items()):
        values = {c: 0.9 - 0.01 * k - 0.02 * index for k, c in enumerate(categories)}
        shared = {"method": method, "set_categories": categories, **more}
        unified = {c: v - shift - 0.001 * k for k, (c, v) in enumerate(values.items())}
        for seed in seeds:
            made.append(make_record(setting="unified", seed=seed, values=unified, **shared))
            made += [
                make_record(setting="separate", seed=seed, category=c, value=v, **shared) for c, v in values.items()
            ]
    return comparison_part(leaderboard(made), "toy")


def test_a_loss_in_every_category_is_marked_next_to_its_interval():
    part = part_of({"falls": 0.05})
    (row,) = part.table.rows
    mean, interval, p = row.cells[:3]
    assert mean.main == "\N{MINUS SIGN}5.4"
    assert interval.main.startswith("\N{MINUS SIGN}5.")
    assert "clear" in interval.classes
    assert p.main == "< 0.001"
    assert part.figures == ()  # one method makes no ranking


@pytest.mark.parametrize(("categories", "seeds"), [(CATEGORIES, (0,)), (CATEGORIES[:1], (0, 1))])
def test_one_seed_and_one_category_are_not_tested(categories, seeds):
    assert part_of({"one": 0.05, "two": 0.0, "three": 0.1}, categories, seeds) is None
    part = part_of({"one": 0.05}, categories, seeds, deterministic=True)
    assert (part is not None) == (len(categories) > 1)


def test_three_methods_are_ranked_in_both_settings_and_say_how_many_categories():
    part = part_of({"one": 0.0, "two": 0.0, "three": 0.0})
    captions = [caption for caption, _ in part.figures]
    assert ["unified" in captions[0], "separate" in captions[1]] == [True, True]
    assert "over 8 categories" in captions[0]
    assert all(figure.startswith("<svg") and "critical difference" in figure for _, figure in part.figures)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_ranking_over_different_backbones_says_so(backbone):
    made = [
        make_record(
            method=f"m{k}",
            seed=seed,
            set_categories=CATEGORIES,
            backbone=backbone if k else "resnet18",
            value=0.9 - k / 20,
        )
        for k in range(3)
        for seed in (0, 1)
    ]
    part = comparison_part(leaderboard(made), "toy")
    assert part.table is None  # nothing has run in both settings
    assert ("different backbones" in part.figures[0][0]) == (backbone == "resnet50")


def test_nothing_to_test_makes_no_part():
    assert comparison_part(leaderboard([make_record(set_categories=CATEGORIES)]), "toy") is None
