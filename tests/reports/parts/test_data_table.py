from reports.parts.data_table import data_table
from results.leaderboard import leaderboard
from tests.support.records import make_record

COUNTS = {"bolt": {"train": 8, "normal": 6, "anomalous": 5, "masks": 4}}


def test_the_counts_of_all_records_are_one_table():
    records = [
        make_record(setting="separate", category="bolt", counts=COUNTS),
        make_record(setting="separate", category="cloth"),
    ]
    table = data_table(leaderboard(records), "data")
    assert table is not None
    assert {row.name: [cell.main for cell in row.cells] for row in table.rows} == {
        "bolt": ["8", "6", "5", "4"],
        "cloth": ["—"] * 4,
        "pipe": ["—"] * 4,
    }


def test_older_records_have_no_table():
    assert data_table(leaderboard([make_record()]), "data") is None
