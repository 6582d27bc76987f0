"""Kills every command that writes at calls of the file system, and checks what is left each time.

    python -m tests.faults.kill_at_calls [--kills 200] [--seed 0] [--commands run,merge]

A trial starts from the same files as an undisturbed call, and kills the command once or several times: just before its
n-th call that changes a file or a directory, in the middle of writing a file that is being synchronised (half of its
bytes are cut off), or at a random moment. Then the command is started again until it ends. After every kill each
record and each file that has its final name is whole, and no earlier record is gone. After the last call everything
equals what the undisturbed call left, byte by byte (of records: except cost and provenance), and no temporary file,
claim or checkpoint is left. A fault does not end the program: it prints each one, and its counts as one line of JSON.

Processes are forked from this one, which has imported everything, so a kill does not cost a start of Python.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: forked processes must not inherit a pool of threads

from tests.faults.kill_at_random import FaultError, start, wait
from tests.faults.killed_commands import COMMANDS, Command, differing
from tests.faults.killing_at_calls import die_at

LIMIT_SECONDS = 600.0


def call(command: Command, place: Path, output: Path, dies: Callable[[], None]) -> int:
    """Fork a process that calls the command."""

    def before() -> None:
        dies()
        command.setting()

    return start(command.arguments(place), output, before)


def finish(process: int, output: Path) -> int:
    """Wait for a process; a process that does not end is killed.

    Raises:
        FaultError: If it does not end.
    """
    code = wait(process, LIMIT_SECONDS)
    if code is None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise FaultError(f"no end within {LIMIT_SECONDS} s: {output.read_text(errors='replace')[-1500:]}")
    return code


class Target:
    """A command with the outcome of its undisturbed call.

    Args:
        command: The command.
        work: Directory for everything that is written.
    """

    def __init__(self, command: Command, work: Path) -> None:
        self.command, self.work, self.output = command, work, work / "output"
        # Every trial is at the same place, because paths are a part of what some commands write.
        self.place, self.fresh = work / "place", work / "fresh"
        self.fresh.mkdir(parents=True)
        command.prepare(self.fresh)
        outcomes = []
        for _ in range(2):
            self._begin()
            tally = work / "tally"
            began = time.monotonic()
            code = finish(call(command, self.place, self.output, die_at(0, self.place, tally)), self.output)
            self.seconds = time.monotonic() - began
            if code != command.code:
                raise FaultError(f"the undisturbed call failed with {code}: {self.output.read_text()[-2000:]}")
            self.calls, modules = json.loads(tally.read_text())
            for name in modules:  # the processes that are forked later need not import them again
                if name not in sys.modules and name.partition(".")[0] not in ("tests", "__mp_main__"):
                    with contextlib.suppress(ImportError):
                        importlib.import_module(name)
            outcomes.append(command.outcome(self.place))
            if command.left(self.place):
                raise FaultError(f"the undisturbed call leaves {command.left(self.place)}")
        self.expected = outcomes[0]
        if outcomes[0] != outcomes[1]:
            raise FaultError(f"two undisturbed calls differ: {differing(*outcomes)}")

    def _begin(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.fresh, self.place, symlinks=True)
        self.output.write_bytes(b"")

    def trial(self, rng: random.Random, kills: int) -> Counter[str]:
        """Kill the command up to ``kills`` times, then let it end; returns the counts.

        Raises:
            FaultError: If something is torn, lost, left behind, or differs.
        """
        self._begin()
        counts: Counter[str] = Counter()
        most = max(1, round(self.calls * self.command.fraction))
        story = []
        try:
            for _ in range(kills):
                moment = rng.random() < 0.3
                number = 0 if moment else rng.randint(1, most)
                process = call(self.command, self.place, self.output, die_at(number, self.place))
                if moment:
                    delay = rng.uniform(0.0, self.seconds * self.command.fraction)
                    story.append(f"killed after {delay:.3f} s")
                    code = wait(process, delay)
                    if code is None:
                        os.kill(process, signal.SIGKILL)
                        code = finish(process, self.output)
                else:
                    story.append(f"killed at call {number}")
                    code = finish(process, self.output)
                if code == self.command.code:
                    break
                if code != -signal.SIGKILL:
                    raise FaultError(f"exit code {code}: {self.output.read_text(errors='replace')[-1500:]}")
                counts["moments" if moment else "calls"] += 1
                counts["killed"] += 1
                if torn := self.command.check(self.place, self.expected):
                    raise FaultError(f"torn or lost: {torn[:5]}")
            code = finish(call(self.command, self.place, self.output, die_at(0, self.place)), self.output)
            if code != self.command.code:
                raise FaultError(f"exit code {code} in the end: {self.output.read_text(errors='replace')[-1500:]}")
            found, left = self.command.outcome(self.place), self.command.left(self.place)
            if found != self.expected or left:
                raise FaultError(f"differs: {differing(found, self.expected)}; left behind: {left[:5]}")
        except FaultError as error:
            raise FaultError(f"{', '.join(story)}: {error}") from error
        counts["finished"] += 1
        return counts


def shoot(name: str, kills: int, seed: int, work: Path) -> tuple[Counter[str], list[str]]:
    """Kill one command so many times; returns the counts and the faults."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    target = Target(COMMANDS[name][0](), work)
    number = 0
    while counts["killed"] < kills:
        rng = random.Random(f"{seed} {name} {number}")
        number += 1
        try:
            counts += target.trial(
                rng, min(rng.randint(1, round(3 / target.command.fraction)), kills - counts["killed"])
            )
        except FaultError as error:
            faults.append(f"{name}, seed {seed}, trial {number - 1}: {error}")
            sys.stderr.write(f"{faults[-1]}\n")
            counts["killed"] += 1
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    given = parser.parse_args()
    began = time.monotonic()
    chosen: Sequence[str] = given.commands.split(",")
    whole = sum(COMMANDS[name][1] for name in chosen)
    counts: dict[str, dict[str, int]] = {}
    faults: list[str] = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as work:
            found, wrong = shoot(name, max(1, round(given.kills * COMMANDS[name][1] / whole)), given.seed, Path(work))
        counts[name] = dict(found)
        faults += wrong
        sys.stderr.write(f"{name}: {dict(found)}, {len(wrong)} faults, {time.monotonic() - began:.0f} s\n")
    killed = sum(one["killed"] for one in counts.values())
    outcome = {"killed": killed, "commands": counts, "faults": faults, "seconds": round(time.monotonic() - began)}
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
