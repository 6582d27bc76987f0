from reports.parts.data_table import data_cautions, data_table
from results.leaderboard import leaderboard
from tests.support.records import make_data, make_record

COUNTS = {"bolt": {"train": 8, "normal": 6, "anomalous": 5, "masks": 4}}
COPIES = {"trained": 3, "contradicting": 0, "elsewhere": 2, "repeated": 0}


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
    assert data_cautions(leaderboard(records)) == []


def test_remarks_are_columns_where_there_are_some():
    record = make_record(
        setting="separate", category="bolt", counts=COUNTS, value_bits={"bolt": 12}, copies={"bolt": COPIES}
    )
    results = {"bolt": record.results["bolt"].model_copy(update={"unmarked": 2})}
    board = leaderboard([record.model_copy(update={"results": results})])
    table = data_table(board, "data")
    assert table is not None
    assert [(group.label, group.span) for group in table.groups] == [("Images and masks", 4), ("Remarks", 4)]
    assert [column.label for column in table.columns[4:]] == ["bits", "unmarked", "in training too", "two categories"]
    assert [cell.main for cell in table.rows[0].cells] == ["8", "6", "5", "4", "12", "2", "3", "2"]
    assert data_cautions(board) == [
        "Images of bolt are copies of others, byte for byte: 3 test images are also training images, 2 images are in "
        "two categories. The table above has the numbers; `verify` lists the pairs.",
        "2 anomalous images of bolt have a black mask. Pixel metrics leave such images out.",
    ]


def test_older_records_have_no_table():
    assert data_table(leaderboard([make_record()]), "data") is None


def test_copies_are_those_of_the_same_data():
    before = make_record(setting="separate", category="bolt", counts=COUNTS, copies={"bolt": COPIES}, data=make_data())
    after = make_record(data=make_data(pipe="train"))  # the copies in another category were removed
    tables = {board.rows[0].data_id: board for board in leaderboard([before, after]).tables()}
    old, new = (tables[record.dataset.data_id] for record in (before, after))
    assert data_cautions(old)
    assert data_cautions(new) == []
    table = data_table(new, "data")
    assert table is not None
    assert [cell.main for cell in table.rows[0].cells] == ["8", "6", "5", "4"]
