"""Data that change between two runs, from files to the page: nothing is compared with runs of other data."""

from __future__ import annotations

import base64
from dataclasses import replace

from bench.benchmark import benchmark
from bench.execution.thumbnails import keep_pictures
from bench.plan.plan import make_plan, missing_runs
from reports.content import content_of
from reports.pages import gallery
from results.leaderboard import leaderboard_of
from results.records.store import Store
from results.records.thumbnails import read_pictures
from tests.support.benchmarks import run_all
from tests.support.miniature import write_miniature_folder


def relabel(root, images: int = 3) -> None:
    """Take defective test images of one category for normal ones, as a person does who finds wrong labels."""
    moved = sorted((root / "bolt" / "test").glob("s*/*.png"))[:images]
    for number, image in enumerate(moved):
        image.rename(root / "bolt" / "test" / "good" / f"9{number}.png")
        (root / "bolt" / "ground_truth" / image.parent.name / f"{image.stem}_mask.png").unlink()


def rows_by_data(opts):
    board = leaderboard_of(Store(opts.results_dir))
    return {row.data_id: row for row in board.rows}


def test_after_three_images_are_relabelled_unified_alone_makes_no_pair(options, tmp_path, capsys):
    root = write_miniature_folder(tmp_path / "parts")
    opts = options(("padim",), jobs=1, keep="all", root=root, site=tmp_path / "site", reference_dir=tmp_path / "none")
    run_all(opts)
    (before,) = rows_by_data(opts).values()
    assert before.delta("I-AUROC").mean is not None
    relabel(root)
    plan = make_plan(opts)
    todo = missing_runs(plan, Store(opts.results_dir), force=False, retry_failed=False)
    assert [(run.setting, run.categories) for run in todo] == [("unified", ("bolt", "cloth")), ("separate", ("bolt",))]
    assert benchmark([replace(opts, settings=("unified",))]) == 0
    printed = capsys.readouterr().out
    row = rows_by_data(opts)[plan[0].dataset.data_id]
    assert row.cell("unified", "I-AUROC").mean is not None
    reason = "bolt, seed 0: not run on these data; a record is of other data: bolt (test images, labels or masks)"
    assert row.delta("I-AUROC").mean is None
    assert reason in row.delta("I-AUROC").reason
    assert row.category_cell("separate", "I-AUROC", "cloth").mean is not None
    assert reason in printed
    assert printed.count("(data ") == printed.count(f"(data {row.data_id[:8]})") > 0  # the table of the new data only
    page = (tmp_path / "site" / "index.html").read_text()
    assert "the data differ in bolt (test images, labels or masks)" in page
    assert reason in page
    run_all(opts)
    after = rows_by_data(opts)[row.data_id]
    assert after.complete
    assert after.delta("I-AUROC").mean is not None
    assert rows_by_data(opts)[before.data_id].records == before.records
    old, new = (row.run_of("separate", 0, "bolt") for row in (before, after))
    assert old.fit_id == new.fit_id
    assert old.cost.fit_seconds == new.cost.fit_seconds  # only scored again, because the fit was kept


def test_two_directories_with_the_same_names_of_categories_are_two_datasets(options, tmp_path):
    opts = options(("padim",), settings=("unified",))
    store, made, digests = Store(opts.results_dir), {}, {}
    for name, size in (("line 1", 64), ("line 2", 72)):
        mine = replace(opts, root=write_miniature_folder(tmp_path / name, size=size))
        run_all(mine)
        plan = make_plan(mine)
        keep_pictures(plan, store)
        made[name] = plan[0].dataset.data_id
        digests[name] = plan[0].dataset.data["bolt"].test
    assert {row.dataset.title: row.data_id for row in rows_by_data(opts).values()} == made
    (tmp_path / "line 1").rename(tmp_path / "moved")
    again = make_plan(replace(opts, root=tmp_path / "moved"))
    assert missing_runs(again, store, force=False, retry_failed=False) == []
    pages = {page.shown.title: page.shown.categories[0].cases[0] for page in gallery.pages(content_of(store))}
    assert sorted(pages) == ["line 1", "line 2"]
    for name, case in pages.items():  # each with the images of its own files
        pictures = read_pictures(store, "folder", "bolt", digests[name])
        image = pictures.images[pictures.paths.index(case.path)]
        assert case.jpeg.endswith(base64.b64encode(image).decode())
