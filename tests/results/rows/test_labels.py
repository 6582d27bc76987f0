"""Labels of rows: they distinguish rows in as few words as possible."""

from __future__ import annotations

from results.leaderboard import leaderboard
from results.rows.labels import labels, labels_among
from tests.support.records import make_record


def test_labels_name_only_as_much_of_the_weights_as_is_needed():
    def labels_of(*backbones: tuple[str, str, str]) -> list[str]:
        records = []
        for name, weights, sha256 in backbones:
            record = make_record(backbone=name, weights=weights)
            entry = record.backbone.model_copy(update={"sha256": sha256 * 64})
            records.append(record.model_copy(update={"backbone": entry, "score_id": sha256 * 12}))
        return sorted(labels(leaderboard(records).rows).values())

    packaged, random = ("lite", "packaged", "a"), ("resnet18", "random", "b")
    assert labels_of(packaged, random) == ["Plain (backbone=lite)", "Plain (backbone=resnet18, weights=random)"]
    assert labels_of(("resnet18", "file", "c"), random) == ["Plain (weights=file)", "Plain (weights=random)"]
    two_files = labels_of(("resnet18", "file", "c"), ("resnet18", "file", "d"))
    assert two_files == ["Plain (weights=file cccccccc)", "Plain (weights=file dddddddd)"]


def test_labels_side_by_side_leave_out_what_all_rows_share():
    shared = {"steps": 100, "batch_size": 8}
    records = [
        make_record(method="mlp", title="MLP", overrides=shared),
        make_record(method="uniad", title="UniAD", overrides=shared, fit_config={"query": "all"}),
        make_record(method="uniad", title="UniAD", overrides=shared | {"query": "none"}),
    ]
    named, common = labels_among(leaderboard(records).rows)
    assert sorted(named.values()) == ["MLP", "UniAD (query=all)", "UniAD (query=none)"]
    assert common == ("batch_size=8", "steps=100")
    alone, nothing = labels_among(leaderboard(records[:1]).rows)
    assert list(alone.values()) == ["MLP (batch_size=8, steps=100)"]
    assert nothing == ()


def test_labels_side_by_side_name_presets_where_there_are_several():
    rows = leaderboard([make_record(preset="quick"), make_record(preset="paper")]).rows
    assert sorted(labels_among(rows)[0].values()) == ["Plain [paper]", "Plain [quick]"]
