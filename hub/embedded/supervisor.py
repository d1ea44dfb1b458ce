"""One server as a child process: one owner a folder, no orphans, an orderly end."""

import asyncio
import contextlib
import fcntl
import functools
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hub.embedded import launch
from hub.embedded.account import Account, EmbeddedError, account, make_home
from hub.embedded.programs import Prefer, Program

START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
POLL = 0.01
BIND_TRIES = 3
LOG_TAIL = 2000

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """The progress callback of whoever wants none."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A server child on 127.0.0.1 with a password, its files in `directory/server`.

    The folder is locked for as long as the owner lives (flock(2): the kernel lets go even after
    kill -9), so a server found running in a folder that we could lock is an orphan, and is
    ended before ours starts. A stopped server may be started again and keeps its port.
    """

    title: str
    end_signal: signal.Signals
    crash_signal: signal.Signals

    def __init__(self, directory: Path, prefer: Prefer, on_progress: Progress) -> None:
        self.directory = directory.absolute()
        self.prefer: Prefer = prefer
        self.on_progress = on_progress
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._lock: IO[str] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, password included."""

    @property
    def home(self) -> Path:
        """The folder that the server owns."""
        return (self.directory / "server").resolve()

    @functools.cached_property
    def user(self) -> Account:
        return account()

    @functools.cached_property
    def program(self) -> Program:
        return self._find()

    @property
    def _log_path(self) -> Path:
        return self.directory / "log"

    @property
    def pid(self) -> int | None:
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    @abstractmethod
    def _find(self) -> Program:
        """The program to run; EmbeddedError when there is none."""

    @abstractmethod
    async def _prepare(self) -> None:
        """Makes what the server needs before its first start."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments, for `self.port`."""

    @abstractmethod
    def _pid_file(self) -> Path:
        """Written by the server, its first line the pid."""

    @abstractmethod
    async def _is_ready(self) -> bool:
        """Whether it answers; called until it does."""

    async def start(self) -> str:
        """Starts the server and returns its URL.

        Raises EmbeddedError: no program, the folder is another process's, the server ended or
        was not ready in START_TIMEOUT (with the end of its log).
        """
        self._take_folder()
        try:
            make_home(self.directory, self.user)
            with contextlib.suppress(FileNotFoundError):
                self._log_path.replace(self._log_path.with_suffix(".old"))
            await self._end_orphan()
            await self._prepare()
            await self._spawn()
        except BaseException:
            await self._end(signal.SIGKILL)
            self._leave_folder()
            raise
        return self.url

    async def restart(self) -> None:
        """Starts a server of ours that ended, in the folder we hold, where its clients look for it.

        Nothing is made anew: a server whose files are gone fails, instead of coming back empty.
        Raises EmbeddedError as `start`; the folder stays ours.
        """
        if self._lock is None:
            raise EmbeddedError(f"{self.title} was not started")
        with contextlib.suppress(FileNotFoundError):
            self._log_path.replace(self._log_path.with_suffix(".old"))
        try:
            await self._end_orphan()
            await self._spawn(keep_port=True)
        except BaseException:
            await self._end(signal.SIGKILL)
            raise

    async def stop(self) -> None:
        """Ends the server in order: everything acknowledged is on disk. Does nothing twice."""
        await self._end(self.end_signal)
        self._leave_folder()

    async def crash(self) -> None:
        """Ends it as a power cut would, clients cut off at once; start() recovers."""
        await self._end(self.crash_signal)
        self._leave_folder()

    async def wait(self) -> int:
        """Returns the exit status when the server ends, by whomever."""
        if self._process is None:
            raise EmbeddedError(f"{self.title} was not started")
        return await self._process.wait()

    def _take_folder(self) -> None:
        if self._lock:
            raise EmbeddedError(f"{self.title} in {self.directory} is already started")
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = (self.directory / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise EmbeddedError(
                f"{self.directory} is in use by process {owner}: stop it, or set EMBEDDED_DIR"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _leave_folder(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    async def _end_orphan(self) -> None:
        """Ends what a killed owner left behind, and forgets a pid that is another program's now."""
        path = self._pid_file()
        pid = _first_number(path)
        if pid is None or not _is_alive(pid):
            return  # the servers judge a dead one's file themselves
        if not _works_in(pid, path.parent):
            path.unlink(missing_ok=True)
            return
        self.on_progress(f"{self.title}: ending the one that a killed process left behind")
        for number in (self.end_signal, self.crash_signal, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if await self._gone(pid, path.parent):
                return
        raise EmbeddedError(f"{self.title}: process {pid}, left behind, does not end")

    async def _gone(self, pid: int, folder: Path) -> bool:
        for _ in range(int(STOP_TIMEOUT / POLL)):
            if not _works_in(pid, folder):
                return True
            await asyncio.sleep(POLL)
        return False

    async def _spawn(self, *, keep_port: bool = False) -> None:
        for _ in range(BIND_TRIES):
            # A port may be taken between our look and the server's bind: then another one.
            self.port = self.port or free_port()
            self._process = await self._launch(self._command(), self.end_signal)
            if await self._became_ready():
                return
            said = self._log_tail()
            await self._end(signal.SIGKILL)
            if keep_port or "address already in use" not in said.lower():
                break
            self.port = 0
        raise EmbeddedError(f"{self.title} did not start: {said or 'it said nothing'}")

    async def _became_ready(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT
        while self.pid is not None and time.monotonic() < deadline:
            if await self._is_ready():
                return True
            await asyncio.sleep(POLL)
        return False

    async def _launch(
        self, command: list[str], at_parent_death: signal.Signals
    ) -> asyncio.subprocess.Process:
        """A session of its own keeps the terminal's Ctrl-C away: the owner ends it, in order."""
        uid, gid = (self.user.uid, self.user.gid) if self.user.switched else (-1, -1)
        with self._log_path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *launch.command(command, at_parent_death, uid, gid),
                cwd=self.home,
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _run(self, command: list[str]) -> None:
        """Runs a program that ends by itself, as the servers' user; EmbeddedError if it fails."""
        process = await self._launch(command, signal.SIGKILL)
        if await process.wait():
            raise EmbeddedError(f"{self.title}: {Path(command[0]).name} failed: {self._log_tail()}")

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        for step in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(step)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
                break
        self._process = None

    def _write_secret(self, path: Path, text: str) -> None:
        """A file that only the servers' user reads; never through a link that this user made."""
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(text)
        self.user.own(path)

    def _log_tail(self) -> str:
        return self._log_path.read_text(errors="replace")[-LOG_TAIL:].strip()


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _works_in(pid: int, folder: Path) -> bool:
    """Whether the process works in that folder: only our server does (a zombie works nowhere)."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(folder.resolve())
    except OSError:
        return False
