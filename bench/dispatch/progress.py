"""Shows the progress of a plan: what is done, what is running, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bench.dispatch.estimate import Estimator
from bench.plan.runs import Run, fits
from datasets.errors import printable
from results.records.record import RunRecord


def duration(seconds: float) -> str:
    """A duration as text: ``1 min 40 s`` for 100, seconds below 90 s, hours from 90 minutes on."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds / 3600:.1f} h"


class Reporter:
    """Shows what is done and what is left: a live bar on a terminal, one line per event elsewhere.

    Args:
        console: Where to print.
        runs: All runs of the plan that are not recorded yet.
        estimator: Estimates the time that is left.
        processes: Number of runs that are executed at the same time.
    """

    def __init__(self, console: Console, runs: Sequence[Run], estimator: Estimator, processes: int) -> None:
        self.console = console
        self.left = list(runs)
        self.total = len(runs)
        self.estimator = estimator
        self.processes = processes
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),  # names may look like markup: [/]
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.overall: TaskID = self.progress.add_task("runs", total=self.total, note="")
        self.inner: TaskID = self.progress.add_task("", total=1, note="")
        self._last_line = time.monotonic()
        self._stage: tuple[str, float, int] | None = None
        """The present activity, when it began, and how much of it was done then."""

    def remaining(self) -> str:
        """Expected time of the runs that are left, as text."""
        expected = [self.estimator.seconds(group[0]) for group in fits(self.left)]
        known = [seconds for seconds in expected if seconds is not None]
        if not known:
            return "time left: not known yet"
        guess = sum(known) + (len(expected) - len(known)) * sum(known) / len(known)
        return f"about {duration(guess / self.processes)} left"

    def stage(self, what: str, done: int, total: int, note: str = "") -> None:
        """Show the progress of the present run or pass, and the time left for it at the pace so far."""
        now = time.monotonic()
        if self._stage is None or self._stage[0] != what or done < self._stage[2]:
            self._stage = (what, now, done)
        _, begun, already = self._stage
        if already < done < total:
            note += f", {duration((now - begun) / (done - already) * (total - done))} left for it"
        self.progress.update(self.inner, description=printable(what), completed=done, total=total, note=note)
        if not self.console.is_terminal and now - self._last_line > 20:
            self.line(f"  {what}: {done}/{total} {note}")

    def line(self, text: str) -> None:
        """Print a line that stays on the screen."""
        self._last_line = time.monotonic()
        self.console.print(text, highlight=False)

    def finished(self, run: Run, record: RunRecord, seconds: float, *, by_others: bool = False) -> None:
        """Show that a run is recorded.

        Args:
            run: The run.
            record: The record of the run.
            seconds: Duration.
            by_others: Whether another process recorded it; its duration is then not known.
        """
        self.left.remove(run)
        if record.status == "ok" and not by_others:
            self.estimator.observe(run, seconds)
        done = self.total - len(self.left)
        outcome = _outcome(record)
        self.progress.update(self.overall, completed=done, note=self.remaining())
        rest = f"; {self.remaining()}" if self.left else ""
        spent = ", recorded by another process" if by_others else f" in {duration(seconds)}"
        self.line(f"[{done}/{self.total}] {run.describe()}: {outcome}{spent}{rest}")


def _outcome(record: RunRecord) -> str:
    if record.failure:
        return f"FAILED ({record.failure.error_type}: {record.failure.message})"
    values = [result.metrics.get("I-AUROC") for result in record.results.values()]
    if not values or any(value is None for value in values):
        return "recorded"
    mean = sum(value for value in values if value is not None) / len(values)
    return f"I-AUROC {100 * mean:.1f}"
