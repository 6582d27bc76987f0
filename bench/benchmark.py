"""The whole of ``run``: makes the plan, prints it, executes it, renders the page and prints the headline table.

On Ctrl-C or SIGTERM the benchmark stops, its workers end, and it prints what is kept.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from rich.table import Column, Table

from bench.console import Console
from bench.dispatch.estimate import Estimator
from bench.dispatch.jobs import stamps
from bench.dispatch.progress import duration
from bench.dispatch.run_plan import run_plan
from bench.errors import StoppedError
from bench.execution.provenance import git_state
from bench.execution.runner import Execution
from bench.execution.thumbnails import keep_pictures
from bench.plan.options import Options
from bench.plan.other_sets import as_record_of, copy_record, recorded_in_other_sets
from bench.plan.plan import make_plan, missing_runs
from bench.plan.resolve import ResolvedOptions, resolve
from bench.plan.runs import Run, cache_file, fits
from bench.printing import print_headline
from datasets.errors import StorageError
from datasets.index.image_directory import read_image_directory
from datasets.index.pixel_values import mask_problems, range_problems, range_remarks
from datasets.index.problems import LISTED
from datasets.index.unread import describe_unread
from datasets.samples.sample import Counts
from datasets.storage.atomic import write_bytes
from datasets.storage.cores import usable_cores
from methods.backbones.packaged import ARCHITECTURE
from methods.registry import card_of
from reports.build import build
from reports.pages.study import study_file
from reports.text.sentences import describe_copies
from results.analyses.gallery_cases import SEED
from results.records.method_card import keep_card
from results.records.record import RunRecord
from results.records.store import Store


def benchmark(all_options: list[Options], studies: Sequence[str] = ()) -> int:
    """Run benchmarks one after the other, then render the page.

    Args:
        all_options: The options. Those of one dataset are executed as one plan; they differ in methods, settings,
            seeds and assignments only. All have the same directories.
        studies: Names of the ablation studies that are run; their pages are printed in the end.

    Returns:
        Number of runs of this call that failed.

    Raises:
        StoppedError: After Ctrl-C or SIGTERM; the message says what is kept.
    """
    console = Console(soft_wrap=True)
    git_state()  # read now, because it is kept: the code is loaded now, and may be edited while it runs
    plans: dict[str, tuple[ResolvedOptions, list[Run]]] = {}
    for options in all_options:  # all plans first: a wrong name at the end must not cost the runs before it
        if options.dataset not in plans:
            console.print(f"Reading {options.dataset} ...", highlight=False)
        plan = plans.setdefault(options.dataset, (resolve(options), []))[1]
        planned = {run.score_id for run in plan}  # several studies may have the same base
        plan += [run for run in make_plan(options) if run.score_id not in planned]
    failed = 0
    try:
        with stops_on_sigterm():
            for options, plan in plans.values():
                failed += _execute_plan(options, plan, console)
    except KeyboardInterrupt as error:
        raise StoppedError(_describe_kept((plan for _, plan in plans.values()), all_options[0])) from error
    first = all_options[0]
    if first.dry_run:
        return 0
    store = Store(first.results_dir, (first.reference_dir,))
    page = build(store, first.site)
    for _, reason in store.problems:  # each begins with its path
        console.print(f"Left out of the page: {reason}", highlight=False)
    print_headline(console, store, [run for _, plan in plans.values() for run in plan])
    if failed:
        console.print(f"{failed} runs failed; the page names them. Repeat them with --retry-failed.", style="bold red")
    console.print(f"Page: {page.resolve()}", highlight=False)
    for name in studies:
        console.print(f"Study: {page.resolve().with_name(study_file(name))}", highlight=False)
    return failed


def _execute_plan(options: ResolvedOptions, plan: list[Run], console: Console) -> int:
    """Execute the missing runs of one dataset's plan; return the number of runs that failed."""
    store = Store(options.results_dir)
    _print_missing_settings(console, options, plan)
    _print_data(console, options, plan)
    _print_textures(console, plan)
    _print_copies(console, options, plan)
    _print_stand_ins(console, options, plan)
    _print_faults(console, plan)
    _print_pixel_values(console, plan)
    before = stamps(store, plan)
    records = store.records()
    shared = {} if options.force else recorded_in_other_sets(plan, store, records, options.curves)
    for run in plan:
        if run.score_id in shared:
            records.append(as_record_of(run, shared[run.score_id]))
            if not options.dry_run:
                copy_record(shared[run.score_id], run, store)
    todo = missing_runs(plan, store, force=options.force, retry_failed=options.retry_failed, curves=options.curves)
    todo = [run for run in todo if run.score_id not in shared]
    if options.only_kept:
        todo = [run for run in todo if cache_file(options.cache_dir / "states", run, ".safetensors").exists()]
    for _, reason in store.problems:  # each begins with its path
        console.print(f"Unreadable record {reason}", highlight=False)
    _print_counts(console, plan, todo, records, len(shared))
    _print_mask_problems(console, todo)
    estimator = Estimator(records, probe=bool(todo) and not options.cluster, curves=options.curves)
    if options.dry_run:
        _print_dry_run(console, plan, todo, estimator, options.jobs)
        return 0
    planned = {run.score_id for run in plan}
    for record in records:
        if record.score_id in planned:
            store.remove_replaced_arrays(record)
    if todo:
        _require_writable(options.results_dir)
        for cls in {run.detector_class for run in todo}:
            keep_card(options.results_dir, card_of(cls.info))
    with contextlib.suppress(StorageError):  # the benchmark can do without thumbnails; a run reports a storage error
        keep_pictures((run for run in plan if run.seed == SEED), store)
    execution = Execution(
        options.results_dir,
        options.cache_dir,
        options.keep,
        options.jobs,
        options.force,
        options.command,
        options.curves,
        options.looks,
        options.cluster,
    )
    finished = run_plan(todo, execution, estimator, console, before)
    _print_records_elsewhere(console, store, todo)
    failed = [record for record in finished if record.status == "failed"]
    kept = sum(store.is_finished(record) for record in failed)
    if kept:
        console.print(
            f"{kept} of the runs that failed now had finished in an earlier call. That record stays and is shown on "
            "the page; --force repeats the run again.",
            highlight=False,
        )
    return len(failed)


def _describe_kept(plans: Iterable[list[Run]], options: Options) -> str:
    """A text that says what a stopped benchmark leaves; ``plans`` hold all its runs, recorded ones included."""
    results_dir, cache_dir = options.results_dir, options.cache_dir
    store = Store(results_dir)
    runs = [run for plan in plans for run in plan]
    recorded = sum(store.path_of(run).exists() for run in runs)
    text = f"Stopped. {recorded} of {len(runs)} runs are recorded in {results_dir}; the same command does the rest"
    checkpoints = cache_dir / "checkpoints"
    names = {cache_file(checkpoints, run, "").name for run in runs}
    begun = sum(any(checkpoints.glob(f"{name}*.pt")) for name in names)  # a fit in stages has a file for each stage
    if begun:
        trainings = "1 training continues" if begun == 1 else f"{begun} trainings continue"
        text += f", and {trainings} from the checkpoint in {checkpoints}"
    if options.cluster:  # jobs that wait can be dropped, jobs that a worker has begun can not
        text += ". The cluster's workers finish the runs that they have begun, and record them"
    return f"{text}."


def _print_records_elsewhere(console: Console, store: Store, runs: list[Run]) -> None:
    """Print how many records are missing here because a cluster's workers wrote them on their own disks."""
    elsewhere = sum(not store.path_of(run).exists() for run in runs)
    if elsewhere:
        console.print(
            f"{elsewhere} records are in {store.root} on the workers' own disks, not here. Copy that directory from "
            "each machine and merge the copies with `python -m bench merge`.",
            highlight=False,
        )


def _print_counts(console: Console, plan: list[Run], todo: list[Run], records: list[RunRecord], shared: int) -> None:
    """Print how many runs there are, are recorded, and are left; ``shared`` ones are recorded in another set."""
    waiting = {run.score_id for run in todo}
    recorded = {record.score_id: record.status for record in records}
    done = [run for run in plan if run.score_id in recorded and run.score_id not in waiting]
    earlier_failures = sum(recorded[run.score_id] == "failed" for run in done)
    text = f"{len(plan)} runs, {len(done)} recorded already, {len(todo)} to do."
    if earlier_failures:
        text += f" {earlier_failures} of the recorded ones failed: repeat them with --retry-failed."
    if shared:
        text += (
            f" {shared} of the recorded ones are separate detectors that are also a part of another set of categories: "
            "their records are copied."
        )
    console.print(text, highlight=False)


def _require_writable(directory: Path) -> None:
    """Write and delete a file, so that a read-only store is an error before the first training, not after it."""
    probe = directory / ".writable"
    write_bytes(probe, b"")
    probe.unlink(missing_ok=True)


def _print_missing_settings(console: Console, options: ResolvedOptions, plan: list[Run]) -> None:
    """Print the settings that the options name and the plan leaves out, and why."""
    have = {run.setting for run in plan}
    if have and have != {*options.settings} <= {*plan[0].index.settings} and len(plan[0].index.categories) == 1:
        category, chosen = plan[0].index.categories[0], plan[0].setting
        console.print(
            f"'{category}' is the only category: unified and separate are the same training, so it is run once "
            f"({chosen}) and there is nothing to compare.",
            highlight=False,
        )
        return
    for setting in options.settings:
        if setting not in have:
            console.print(f"The protocol of {options.dataset} has no {setting} setting: left out.", highlight=False)


def _print_data(console: Console, options: ResolvedOptions, plan: list[Run]) -> None:
    """Print how many images and masks of each category were found, what is not read, and remarks."""
    for index in {id(run.index): run.index for run in plan}.values():
        table = Table("category", *(Column(name, justify="right") for name in Counts._fields), box=None)
        for category in index.categories:
            table.add_row(category, *map(str, index.counts(category)))
        console.print(table)
        lines = [str(remark) for remark in index.remarks if remark.path.split("/")[0] in index.categories]
        lines += describe_unread(index.unread, index.categories, LISTED)
        for line in lines:
            console.print(line, highlight=False)
        if len(lines) >= LISTED:
            console.print(f"`{_verify_command(options)}` lists all of them.", highlight=False)


def _print_textures(console: Console, plan: list[Run]) -> None:
    """Print how many textures are pasted, from which range they are scaled, and what of their directory is not read."""
    for directory in sorted({run.textures for run in plan if run.textures is not None}):
        found = read_image_directory(directory)
        say = partial(console.print, highlight=False)
        count = "1 image" if len(found.images) == 1 else f"{len(found.images):,} images"
        say(f"Textures: {count} in {directory}. {found.range_remark()}".rstrip())
        lines = describe_unread(found.unread, (), LISTED)
        for line in lines:
            say(f"Textures: {line}")
        if len(lines) >= LISTED:
            command = shlex.join(["python", "-m", "bench", "verify", "dtd", "--root", str(directory)])
            say(f"`{command}` lists all of them.")


def _print_copies(console: Console, options: ResolvedOptions, plan: list[Run]) -> None:
    """Print how many images are copies of others, and which command lists them."""
    copies = describe_copies({c: entry for run in plan for c, entry in run.dataset.copies.items()}.values())
    if copies:
        text = f"Images with equal files: {copies}. `{_verify_command(options)}` lists the pairs."
        console.print(text, highlight=False)


def _print_stand_ins(console: Console, options: ResolvedOptions, plan: list[Run]) -> None:
    """Print which pretrained weights could not be had, so that installed ones are used instead."""
    if options.weights or options.backbone or options.weights_dir is not None or options.checkpoint is not None:
        return
    presets = {run.detector_class.info.presets[run.method.preset].backbone for run in plan}
    if any(run.backbone.weights == "packaged" for run in plan) and (names := sorted(presets - {"", ARCHITECTURE})):
        console.print(
            f"The pretrained weights of {', '.join(names)} can't be fetched; {ARCHITECTURE} with its installed "
            "weights is used instead, and the rows say so. With network access, or with WEIGHTS_DIR=, the presets' "
            "own are used.",
            highlight=False,
        )


def _verify_command(options: ResolvedOptions) -> str:
    where = ("--data-dir", options.data_dir) if options.root is None else ("--root", options.root)
    return shlex.join(["python", "-m", "bench", "verify", options.dataset, *map(str, where)])


def _print_faults(console: Console, plan: list[Run]) -> None:
    """Print the faults of categories; runs on other categories are executed nevertheless."""
    for index in {id(run.index): run.index for run in plan}.values():
        for category, fault in index.faults.items():
            console.print(f"Every run on '{category}' will fail: {fault}", highlight=False)


def _print_pixel_values(console: Console, plan: list[Run]) -> None:
    """Print what the values of 16-bit images mean, and which problems they have."""
    for index in {id(run.index): run.index for run in plan}.values():
        sound = [category for category in index.categories if category not in index.faults]
        for line in (*range_remarks(index, sound), *range_problems(index, sound)):
            console.print(str(line), highlight=False)


def _print_mask_problems(console: Console, runs: list[Run]) -> None:
    """Print the problems of the values in the masks on which the runs are tested."""
    for index in {id(run.index): run.index for run in runs}.values():
        tested = {category for run in runs if run.index is index for category in run.categories} - set(index.faults)
        threshold = runs[0].protocol.mask_threshold
        for problem in mask_problems(index, sorted(tested), threshold, min(4, usable_cores())):
            console.print(str(problem), highlight=False)


def _print_dry_run(console: Console, plan: list[Run], todo: list[Run], estimator: Estimator, jobs: int) -> None:
    """Print a line per method and setting: the number of runs, of recorded runs, and how long the rest takes."""
    table = Table("method", "setting", "runs", "recorded", "expected", "estimate from", box=None)
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in plan:
        groups.setdefault((run.title, run.setting), []).append(run)
    waiting = {run.score_id for run in todo}
    total = estimator.feature_seconds(todo)
    features = total
    for (title, setting), runs in groups.items():
        rest = [run for run in runs if run.score_id in waiting]
        seconds = sum(estimator.seconds(group[0]) or 0.0 for group in fits(rest))
        total += seconds / jobs
        source = estimator.source(rest[0]) if rest else "-"
        table.add_row(title, setting, str(len(runs)), str(len(runs) - len(rest)), duration(seconds), source)
    console.print(table)
    console.print(f"Features (once, unless they are stored already): {duration(features)}.", highlight=False)
    console.print(f"Total: about {duration(total)} = {total / 3600:.2f} hours. Nothing was run.", highlight=False)


@contextmanager
def stops_on_sigterm() -> Iterator[None]:
    """Within this context, SIGTERM (sent at a batch system's time limit) stops the benchmark as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
