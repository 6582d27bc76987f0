"""Hands out turns until every fit is recorded: comes back to what others carry out, sets apart what kills processes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.claims import Claims, Holder
from bench.turns import Outcome, Turn, WorkerError
from bench.workers import WorkersDiedError

Engine = Callable[[Sequence[Turn]], Iterator[Outcome]]
POLL_SECONDS = 2.0
_BREAKS = 4
"""So many pools may break one after the other without a single outcome."""


def in_rounds(turns: Sequence[Turn], engine: Engine, claims: Claims, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Have turns taken until every fit is recorded, here or by another process.

    Args:
        turns: In the order in which to start them.
        engine: Takes turns and yields their outcomes; raises ``WorkersDiedError`` when its processes die.
        claims: Of the store.
        say: Takes a line for the user.

    Yields:
        Outcomes with records, in the order in which they come.

    Raises:
        WorkerError: If worker processes die before they begin anything.
    """
    waiting = {turn.group[0].fit_id: turn for turn in turns}
    alone: set[str] = set()
    breaks = 0
    waited_for: set[Holder] = set()
    while waiting:
        held = claims.living()
        free = [fit_id for fit_id in waiting if fit_id not in held]
        ready = [fit_id for fit_id in free if fit_id not in alone] or free[:1]
        if not ready:
            holders = {held[fit_id] for fit_id in waiting if fit_id in held}
            if not holders <= waited_for:
                names = ", ".join(sorted({holder.describe() for holder in holders}))
                say(f"Waiting for what others carry out: {names}.")
                waited_for |= holders
            time.sleep(POLL_SECONDS)
            continue
        try:
            with _closing(engine([waiting[fit_id] for fit_id in ready])) as outcomes:
                for outcome in outcomes:
                    if outcome.holder is None:
                        del waiting[outcome.group[0].fit_id]
                        breaks = 0
                        yield outcome
        except WorkersDiedError as error:
            breaks += 1
            if breaks >= _BREAKS:
                raise WorkerError(
                    f"Worker processes are killed again and again, most likely for want of memory ({error}). "
                    "What is recorded stays; start again with fewer JOBS, the rest will be run."
                ) from error
            alone |= claims.bereft()
            say("A worker process was killed, most likely for want of memory. What it left is tried once more, alone.")


@contextmanager
def _closing(outcomes: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    """End an engine with its block, also when that is left by Ctrl-C: its processes must not go on."""
    try:
        yield outcomes
    finally:
        close = getattr(outcomes, "close", None)
        if close is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns of the tasks that are dropped: that is what is wanted
                close()
