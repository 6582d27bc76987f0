"""The lock files hold every package that ``pyproject.toml`` needs, on every platform, with the hashes of its files."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK, TOOLS, PEERS = "requirements.lock", "tools.lock", "tests/performance/peers.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WANTED = {
    LOCK: [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())],
    TOOLS: PROJECT["dependency-groups"]["tools"],
    PEERS: PROJECT["dependency-groups"]["peers"],
}
PLATFORMS = {
    "here": {},
    "Linux on ARM": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
    "Python 3.11": {"python_version": "3.11", "python_full_version": "3.11.7"},
    "Python 3.14": {"python_version": "3.14", "python_full_version": "3.14.0"},
}


def entries(file: str) -> Iterator[tuple[Requirement, str]]:
    """Every entry of a lock file, and its options, the hashes."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *options = re.split(r" +(?=--)", line.strip())
        yield Requirement(requirement), " ".join(options)


def pinned(environment: dict[str, str]) -> dict[str, str]:
    """The versions that the lock file installs on a platform, by name."""
    return {
        canonicalize_name(entry.name): str(entry.specifier).removeprefix("==")
        for entry, _ in entries(LOCK)
        if entry.marker is None or entry.marker.evaluate(environment)
    }


def needed(environment: dict[str, str]) -> set[str]:
    """Names of all packages that a platform needs, by the metadata of the packages that are installed here."""
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in map(Requirement, WANTED[LOCK])]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate(environment | {"extra": extra}):
            continue
        for key in {(canonicalize_name(requirement.name), one) for one in ("", *requirement.extras)} - seen:
            seen.add(key)
            waiting += [(Requirement(text), key[1]) for text in _requirements_of(key[0])]
    return {name for name, _ in seen}


def _requirements_of(name: str) -> Iterable[str]:
    try:
        return importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:  # a package of another platform
        return ()


@pytest.mark.parametrize("file", WANTED)
def test_every_entry_is_one_version_with_hashes_and_no_address(file):
    found = list(entries(file))
    assert found
    for requirement, options in found:
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), f"{requirement} has no single version"
        assert requirement.url is None
        assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64} ?)+", options), f"{requirement} has no hashes, or more"
    assert "://" not in (ROOT / file).read_text(encoding="utf-8"), "a lock file names no registry"


@pytest.mark.parametrize("file", WANTED)
def test_lock_files_agree_with_pyproject(file):
    versions = {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry, _ in entries(file)}
    for wanted in map(Requirement, WANTED[file]):
        name = canonicalize_name(wanted.name)
        assert name in versions, f"pyproject.toml needs {name}, which {file} does not have: run `make lock`"
        assert wanted.specifier.contains(versions[name], prereleases=True), f"{wanted}: run `make lock`"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lock_file_has_what_a_platform_needs_and_nothing_else(platform):
    environment = {**default_environment(), **PLATFORMS[platform]}
    locked, required = set(pinned(environment)), needed(environment)
    assert required - locked == set(), "run `make lock`"
    if platform == "here":
        assert locked - required == set(), "run `make lock`"
        assert (
            len([name for name in locked if name.startswith(("nvidia-", "cuda-"))]) >= 18
            or "linux" not in (environment["sys_platform"])
        )


def test_what_is_installed_is_what_is_locked():
    for name, version in pinned({**default_environment()}).items():
        assert importlib.metadata.version(name) == version, f"{name}: run `make setup`"


def test_make_installs_nothing_without_hashes():
    command = ["make", "--dry-run", "--always-make", "setup", "perf", "lock", "audit"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = [line for line in printed.splitlines() if "pip install" in line]
    assert [line.split("--requirement ")[1] for line in lines] == [LOCK, PEERS, TOOLS]
    for line in lines:
        assert "--require-hashes --only-binary :all:" in line, line
