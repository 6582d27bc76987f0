"""Studies as data: reading, levels, and the errors for mistakes."""

from __future__ import annotations

import pytest

from datasets.errors import UnknownNameError
from results.studies.study import StudyError, find_study, known_studies, read_study, shipped_studies

TEXT = """
title = "T"
method = "uniad"
claim = "C"
source = "S"
[base]
query = "all"
mask_encoder = true
jitter_scale = 20.0
[base.quick]
jitter_scale = 5.0
[impossible.quick]
jitter_scale = [40.0]
[[grid]]
query = ["none", "all"]
mask.off = { mask_encoder = false }
mask.on = { mask_encoder = true }
[[grid]]
jitter_scale = [0.0, 5.0, 20.0, 40.0]
"""


def write(tmp_path, text=TEXT):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_levels_are_the_base_and_every_other_combination_of_every_grid_once(tmp_path):
    study = read_study(write(tmp_path))
    assert [level.label for level in study.levels("quick")] == [
        "base",
        "mask=off, query=none",
        "query=none",
        "mask=off",
        "jitter_scale=0",
        "jitter_scale=20",
    ]
    assert study.levels("quick")[1].fields == {"query": "none", "mask_encoder": False, "jitter_scale": 5.0}


def test_a_preset_has_its_own_base_and_its_own_impossible_levels(tmp_path):
    study = read_study(write(tmp_path))
    assert study.base("paper")["jitter_scale"] == 20.0
    assert [level.label for level in study.levels("paper")][-3:] == [
        "jitter_scale=0",
        "jitter_scale=5",
        "jitter_scale=40",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('claim = "C"', 'clain = "C"', "claim is missing|Did you mean claim"),
        ('title = "T"', "title = ", "not a TOML file"),
        ("[base]\n", "[bases]\n", "base"),
        ("jitter_scale = 20.0\n[base.quick]\njitter_scale = 5.0", "", "varies jitter_scale, whose value"),
        ('query = ["none", "all"]', "query = 3", "grid"),
    ],
)
def test_errors_name_the_file_and_the_mistake(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(StudyError, match=rf"mine\.toml: .*({message})"):
        read_study(write(tmp_path, TEXT.replace(old, new)))


def test_grids_with_more_combinations_than_anybody_trains_are_refused(tmp_path):
    levels = "\n".join(f"x{axis} = {list(range(12))}" for axis in range(8))
    base = "\n".join(f"x{axis} = 0" for axis in range(8))
    head = TEXT[: TEXT.index("[base]")]
    with pytest.raises(StudyError, match=r"mine\.toml: its grids have 429,981,696 combinations.*at most 1,000"):
        read_study(write(tmp_path, f"{head}[base]\n{base}\n[[grid]]\n{levels}\n"))
    two = "\n".join(levels.splitlines()[:2])
    study = read_study(write(tmp_path, f"{head}[base]\n{base}\n[[grid]]\n{two}\n"))
    assert len(study.levels("quick")) == 144


def test_names_get_did_you_mean_and_paths_are_read(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean uniad-query"):
        find_study("uniad-querry")
    assert find_study(str(write(tmp_path))).name == "mine"
    with pytest.raises(StudyError, match="can't be read"):
        find_study(str(tmp_path / "none.toml"))


def test_a_user_study_is_stored_next_to_the_records_and_found_there(tmp_path):
    study = read_study(write(tmp_path))
    study.keep_in(tmp_path / "runs")
    assert "mine" in [found.name for found in known_studies([tmp_path / "runs"])]
    mine = tmp_path / "uniad-query.toml"
    mine.write_text(TEXT)
    with pytest.raises(StudyError, match="is a study of this project"):
        read_study(mine).keep_in(tmp_path / "runs")
    for shipped in shipped_studies().values():
        shipped.keep_in(tmp_path / "runs")
    assert len(list((tmp_path / "runs" / "studies").iterdir())) == 1


def test_a_study_replaces_its_earlier_version_and_no_other_study_of_its_name(tmp_path):
    kept = tmp_path / "runs" / "studies" / "mine.toml"
    read_study(write(tmp_path)).keep_in(tmp_path / "runs")
    longer = TEXT.replace("[0.0, 5.0", "[0.0, 1.0, 5.0")
    read_study(write(tmp_path, longer)).keep_in(tmp_path / "runs")
    assert kept.read_text() == longer
    read_study(kept).keep_in(tmp_path / "runs")
    for other in (TEXT.replace('title = "T"', 'title = "Another"'), TEXT.replace('"uniad"', '"rlr"')):
        with pytest.raises(
            StudyError, match=r"mine\.toml: another study of the name mine .* Give your file another name"
        ):
            read_study(write(tmp_path, other)).keep_in(tmp_path / "runs")
    assert kept.read_text() == longer
    kept.write_text("torn")
    read_study(write(tmp_path)).keep_in(tmp_path / "runs")
    assert kept.read_text() == TEXT
    assert [file.read_text() for file in kept.parent.glob("mine.toml.*.unreadable")] == ["torn"]
