"""Claims: which process carries out which fit, said by files, so that no two of them do the same work.

A claim is a file ``.claims/<fit id>.<number>`` in the directory of records, made by exclusive creation. Not a lock of
the operating system: on network directories ``flock`` is, by server and mount, local to one machine, refused, or kept
after its holder is gone, while exclusive creation is atomic on all of them (on NFS since version 3). What a lock would
give for free, a claim does by itself: it ends with its holder. On the holder's own machine a claim is dead when the
process is; elsewhere when the file has not been touched for three minutes, which a living holder does every quarter
of a minute. Ages are differences of two times that the file server wrote: no clocks need to agree.

A dead claim is taken over by creating the next number, which one process alone can do, and only the highest number
counts. Whoever claims looks afterwards whether the run was recorded meanwhile. The worst that a wrong guess could do
(a machine that slept for minutes) is that a run is carried out twice, to the same record: nothing is damaged.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import uuid
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from results.errors import RecordError

BEAT_SECONDS = 15.0
STALE_SECONDS = 180.0
_DIRECTORY = ".claims"
_TRIES = 20


@dataclass(frozen=True)
class Holder:
    """The process behind a claim.

    Attributes:
        machine: Name of its machine.
        place: What process numbers belong to: one boot of one machine, or one container.
        process: Its number.
        born: When it started, as the kernel counts: numbers are used again.
        session: The call of the benchmark that it works for.
        deaths: How many processes of that session died over this fit before.
    """

    machine: str = "another machine"
    place: str = ""
    process: int = 0
    born: str = ""
    session: str = ""
    deaths: int = 0

    @classmethod
    def here(cls, session: str) -> Holder:
        """This process."""
        return cls(platform.node(), _place(), os.getpid(), _born(os.getpid()) or "", session)

    @property
    def is_local(self) -> bool:
        """Whether this process can tell by itself if the holder lives."""
        return bool(self.place) and self.place == _place()

    @property
    def is_running(self) -> bool:
        """Whether a local holder lives."""
        return _born(self.process) == self.born

    def describe(self) -> str:
        """For people: ``process 4711 on gpu-3``."""
        return f"process {self.process} on {self.machine}" if self.process else self.machine


class Claim:
    """A fit that this process carries out; a context manager that keeps the claim fresh and gives it up in the end.

    Attributes:
        holder: This process.
    """

    def __init__(self, file: Path, holder: Holder) -> None:
        self.holder = holder
        self._file = file
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._keep_fresh, name="claim", daemon=True)

    def __enter__(self) -> Claim:
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.release()

    def release(self) -> None:
        """Give the claim up; the last one takes the directory with it."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            self._file.parent.rmdir()

    def _keep_fresh(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._file)


class Claims:
    """The claims of one directory of records.

    Args:
        results_dir: Directory of records.
        session: Of the calling process, see ``Holder``.
    """

    def __init__(self, results_dir: Path, session: str) -> None:
        self.directory = results_dir / _DIRECTORY
        self.session = session

    def take(self, fit_id: str) -> Claim | Holder:
        """Claim a fit.

        Returns:
            The claim, or who holds it.

        Raises:
            RecordError: If the directory can't be written.
        """
        for _ in range(_TRIES):
            number, holder = self._newest(fit_id)
            if holder is not None and self._lives(self._file(fit_id, number), holder):
                return holder
            mine = Holder.here(self.session)
            if holder is not None and holder.session == self.session:
                mine = replace(mine, deaths=holder.deaths + 1)
            file = self._file(fit_id, number + 1)
            if not self._create(file, mine):
                continue  # another process was faster
            if self._newest(fit_id)[0] != number + 1:
                file.unlink(missing_ok=True)  # this one looked before another took over, and created after it
                continue
            for lower in range(1, number + 1):
                self._file(fit_id, lower).unlink(missing_ok=True)
            return Claim(file, mine)
        return Holder()

    def living(self) -> dict[str, Holder]:
        """Who carries out which fit at present."""
        return {fit_id: holder for fit_id, (holder, lives) in self._all().items() if lives}

    def bereft(self) -> set[str]:
        """Fits over which a process of this session died."""
        return {fit for fit, (holder, lives) in self._all().items() if not lives and holder.session == self.session}

    def sweep(self) -> None:
        """Remove what dead processes left. A store that can't be written stays as it is."""
        with contextlib.suppress(OSError, RecordError):
            for fit_id, (_, lives) in self._all().items():
                claim = None if lives else self.take(fit_id)
                if isinstance(claim, Claim):
                    claim.release()
            for clock in self.directory.glob(".clock-*"):
                clock.unlink(missing_ok=True)
            self.directory.rmdir()

    def _all(self) -> dict[str, tuple[Holder, bool]]:
        found = {}
        for fit_id in sorted({name.partition(".")[0] for name in self._names()}):
            number, holder = self._newest(fit_id)
            if holder is not None:
                found[fit_id] = holder, self._lives(self._file(fit_id, number), holder)
        return found

    def _newest(self, fit_id: str) -> tuple[int, Holder | None]:
        """Number and holder of the claim that counts; 0 and None without one."""
        numbers = [int(n) for name in self._names() for fit, _, n in [name.partition(".")] if fit == fit_id]
        if not numbers:
            return 0, None
        try:
            return max(numbers), Holder(**json.loads(self._file(fit_id, max(numbers)).read_bytes()))
        except FileNotFoundError:  # given up at this moment
            return 0, None
        except (OSError, ValueError, TypeError):  # at the moment of its creation, or cut short by a full disk
            return max(numbers), Holder()

    def _names(self) -> list[str]:
        try:
            names = [path.name for path in self.directory.iterdir()]
        except OSError:
            return []
        return [name for name in names if name.rpartition(".")[2].isdecimal() and not name.startswith(".")]

    def _file(self, fit_id: str, number: int) -> Path:
        return self.directory / f"{fit_id}.{number}"

    def _create(self, file: Path, holder: Holder) -> bool:
        for _ in range(_TRIES):
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                with file.open("x", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(holder)))
            except FileExistsError:
                return False
            except FileNotFoundError:  # the last claim of another process took the directory with it
                continue
            except OSError as error:
                raise RecordError(f"{file}: can't be written ({error.strerror or error}).") from error
            return True
        raise RecordError(f"{file}: can't be written (its directory vanishes again and again).")

    def _lives(self, file: Path, holder: Holder) -> bool:
        if holder.is_local:
            return holder.is_running
        try:
            return self._now() - file.stat().st_mtime < STALE_SECONDS
        except FileNotFoundError:
            return False

    def _now(self) -> float:
        """The time of the file server."""
        clock = self.directory / f".clock-{uuid.uuid4().hex}"
        try:
            with clock.open("wb") as stream:
                stream.write(b".")
                stream.flush()
                return os.fstat(stream.fileno()).st_mtime
        finally:
            clock.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _place() -> str:
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _born(process: int) -> str | None:
    """When a process started; empty where the system doesn't tell, None if there is none or it only awaits burial."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
