"""Claims: files that say which process executes which fit, so that no two processes do the same work.

A claim is a file ``.claims/<fit id>.<number>`` in the directory of records. It is written under another name and then
hard-linked to its own name. Linking fails if that name exists, so only one process can make the claim, and no process
ever sees half of it. On file systems without links a claim is made by exclusive creation; a process that is killed
before it writes leaves an empty claim, which counts for 20 seconds.

A claim is not a lock of the operating system: on network directories ``flock`` is, depending on server and mount,
local to one machine, refused, or kept after its holder is gone, while links and exclusive creation are atomic on all
of them (on NFS since version 3). A lock ends with its holder; a claim does so by two rules. On the holder's own machine
a claim is dead when the process is dead. Elsewhere it is dead when its file has not been touched for three minutes; a
living holder touches it every 15 seconds. Ages are differences of two times that the file server wrote, so no clocks
need to agree.

A dead claim is taken over by creating the file with the next number, which only one process can do, and only the
highest number counts. Other files in the directory, e.g. copies that a sync program made of claims, are no claims. A
claim whose time is minutes in the future is dead too: no living holder touched it. The directory stays when its last
claim is given up, because others may be about to write to it.

After claiming, a process checks whether the run was recorded in the meantime. The worst effect of a wrong guess (about
a machine that slept for minutes) is that two processes execute a run and write the same record: nothing is damaged.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated

from pydantic import Field, TypeAdapter

from datasets.errors import StorageError
from datasets.storage import processes
from datasets.storage.atomic import raise_machine_fault, unwritable
from datasets.storage.ordinary_files import read_bytes
from datasets.storage.temporary_files import server_time, sweep, unfinished

BEAT_SECONDS = 15.0
STALE_SECONDS = 180.0
EMPTY_SECONDS = 20.0
_DIRECTORY = ".claims"
_NAME = re.compile(r"(?P<fit>[0-9A-Za-z]+)\.(?P<number>[1-9][0-9]{0,8})")
"""The names of claims: id of the fit, and number of the claim."""
_LAST = 999_999_999
_TRIES = 20
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
"""Errors of file systems that have no hard links."""


@dataclass(frozen=True)
class Holder:
    """The process behind a claim.

    Attributes:
        machine: Name of its machine.
        place: The boot of a machine, or the container, within which process numbers are unique.
        process: Number of the process.
        born: Start time of the process as the kernel counts it; needed because process numbers are used again.
        session: Id of the call of the benchmark that the process works for.
        deaths: Number of processes of that session that died over this fit before, including those that ended because
            another process of their pool was killed.
    """

    machine: str = "another machine"
    place: str = ""
    process: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    born: str = ""
    session: str = ""
    deaths: int = 0

    @classmethod
    def here(cls, session: str) -> Holder:
        """This process."""
        process = os.getpid()
        return cls(platform.node(), processes.place(), process, processes.born(process) or "", session)

    @property
    def is_local(self) -> bool:
        """Whether the holder belongs to this place, so that this process can check if it is running."""
        return bool(self.place) and self.place == processes.place()

    @property
    def is_running(self) -> bool:
        """Whether a local holder is running."""
        return processes.is_running(self.process, self.born)

    def describe(self) -> str:
        """Text for messages: ``process 4711 on gpu-3``."""
        return f"process {self.process} on {self.machine}" if self.process else self.machine


_HOLDER = TypeAdapter(Holder)
"""Reads a claim; entries that a newer version added are left out."""


class Claim:
    """A fit that this process executes; a context manager that keeps the claim fresh and gives it up in the end.

    Attributes:
        holder: This process.
    """

    def __init__(self, file: Path, holder: Holder) -> None:
        self.holder = holder
        self._file = file
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._keep_fresh, name="claim", daemon=True)

    def __enter__(self) -> Claim:
        try:
            self._beat.start()
        except RuntimeError as error:
            self.release()
            raise_machine_fault(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.release()

    def release(self) -> None:
        """Give the claim up."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _keep_fresh(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._file)


class Claims:
    """The claims of one directory of records.

    Args:
        results_dir: Directory of records.
        session: Id of the call of the benchmark that the calling process works for.
    """

    def __init__(self, results_dir: Path, session: str) -> None:
        self.directory = results_dir / _DIRECTORY
        self.session = session

    def take(self, fit_id: str) -> Claim | Holder:
        """Claim a fit.

        Returns:
            The claim, or the process that holds it.

        Raises:
            StorageError: If the directory can't be written.
        """
        for _ in range(_TRIES):
            number, holder = self._newest(fit_id)
            if holder is not None and self._lives(self._file(fit_id, number), holder):
                return holder
            if number == _LAST:  # no number is left; this claim is dead
                self._file(fit_id, number).unlink(missing_ok=True)
                continue
            mine = Holder.here(self.session)
            if holder is not None and holder.session == self.session:
                mine = replace(mine, deaths=holder.deaths + 1)
            file = self._file(fit_id, number + 1)
            if not self._create(file, mine):
                continue  # another process was faster
            if self._newest(fit_id)[0] != number + 1:
                file.unlink(missing_ok=True)  # another process took over after this one looked for the newest claim
                continue
            for lower in self._numbers(fit_id):
                if lower <= number:
                    with contextlib.suppress(OSError):  # e.g. a directory of that name: only the highest number counts
                        self._file(fit_id, lower).unlink(missing_ok=True)
            return Claim(file, mine)
        return Holder()

    def living(self) -> dict[str, Holder]:
        """The living holder of each claimed fit, by fit id."""
        return {fit_id: holder for fit_id, (holder, lives) in self._all().items() if lives}

    def orphaned(self) -> set[str]:
        """Ids of the fits whose claim belongs to a dead process of this session."""
        return {fit for fit, (holder, lives) in self._all().items() if not lives and holder.session == self.session}

    def sweep(self) -> None:
        """Remove the claims of dead processes. A store that can't be written stays as it is."""
        with contextlib.suppress(OSError, StorageError):
            for fit_id, (_, lives) in self._all().items():
                claim = None if lives else self.take(fit_id)
                if isinstance(claim, Claim):
                    claim.release()
            sweep([self.directory], STALE_SECONDS)  # writing a claim never takes longer

    def _all(self) -> dict[str, tuple[Holder, bool]]:
        found = {}
        for fit_id in sorted({fit_id for fit_id, _ in self._names()}):
            number, holder = self._newest(fit_id)
            if holder is not None:
                found[fit_id] = holder, self._lives(self._file(fit_id, number), holder)
        return found

    def _newest(self, fit_id: str) -> tuple[int, Holder | None]:
        """Number and holder of the claim that counts; 0 and None if there is no claim."""
        numbers = self._numbers(fit_id)
        if not numbers:
            return 0, None
        try:
            return max(numbers), _HOLDER.validate_json(read_bytes(self._file(fit_id, max(numbers))))
        except FileNotFoundError:  # given up at this moment
            return 0, None
        except (OSError, ValueError) as error:  # empty or cut short, because its writer was killed; or no holder at all
            raise_machine_fault(error)
            return max(numbers), Holder()

    def _numbers(self, fit_id: str) -> list[int]:
        return [number for fit, number in self._names() if fit == fit_id]

    def _names(self) -> list[tuple[str, int]]:
        """(fit id, number) of all claims, from the names of their files."""
        try:
            found = [_NAME.fullmatch(path.name) for path in self.directory.iterdir()]
        except OSError:
            return []
        return [(match["fit"], int(match["number"])) for match in found if match]

    def _file(self, fit_id: str, number: int) -> Path:
        return self.directory / f"{fit_id}.{number}"

    def _create(self, file: Path, holder: Holder) -> bool:
        """Make a claim that is complete as soon as it exists; False if another process was faster."""
        content = json.dumps(asdict(holder)).encode()
        for _ in range(_TRIES):
            temporary = unfinished(file)
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(content)
                return _link(temporary, file, content)
            except (
                FileNotFoundError,
                FileExistsError,
            ) as error:  # an older version removes the directory while it is made
                if self.directory.exists() and not self.directory.is_dir():
                    raise unwritable(self.directory, error) from error
                continue
            except OSError as error:
                raise unwritable(file, error) from error
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
        raise unwritable(file, OSError("its directory vanishes again and again"))

    def _lives(self, file: Path, holder: Holder) -> bool:
        if holder.is_local:
            return holder.is_running
        try:
            status = file.stat()
        except FileNotFoundError:
            return False
        patience = STALE_SECONDS if status.st_size else EMPTY_SECONDS
        try:
            return abs(server_time(self.directory) - status.st_mtime) < patience
        except FileNotFoundError:  # an older version removed the directory with its last claim
            return False
        except OSError as error:
            raise unwritable(self.directory, error) from error


def _link(temporary: Path, file: Path, content: bytes) -> bool:
    """Link a complete claim to its name, which only one process can do; False for the others."""
    try:
        file.hardlink_to(temporary)
    except FileExistsError:
        # With two links the name is this claim's: a network repeated the request because the answer was lost.
        return temporary.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_exclusively(file, content)
    return True


def _create_exclusively(file: Path, content: bytes) -> bool:
    """Create a claim on a file system without links; it is empty for a moment. False if it exists already."""
    try:
        stream = file.open("xb", buffering=0)
    except FileExistsError:
        return False
    with stream:
        try:
            stream.write(content)
        except OSError:
            file.unlink(missing_ok=True)
            raise
    return True
