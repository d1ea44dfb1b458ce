"""Programs of ours as processes of their own without the time of a start: forked from a process
that has imported them.

An import costs up to a second of CPU, a fork some hundredths. What forks is the forkserver of
multiprocessing: it has one thread and no loop, so that what it forks is as good as new. Tests of a
start itself execute `python -m hub.commands.cli` instead.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any, Final

PIPE: Final = asyncio.subprocess.PIPE
STDOUT: Final = asyncio.subprocess.STDOUT
Output = int | IO[bytes]

IMPORTED: Final = [
    "hub.commands.bus",
    "hub.commands.cli",
    "hub.commands.open_api",
    "hub.commands.open_hub",
    "hub.commands.open_up",
    "hub.commands.open_worker",
    "hub.commands.operate",
    "hub.commands.processes",
    "hub.commands.start",
    "pgqueuer",
]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(IMPORTED)


class Forked:
    """What asyncio.subprocess.Process is to a program that was executed."""

    def __init__(
        self,
        process: BaseProcess,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        assert process.pid is not None
        self.pid: int = process.pid
        self.stdout = stdout
        self.stderr = stderr
        self._process = process
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        """Below zero: the signal that ended it. None while it runs."""
        return self._process.exitcode if self._ended.is_set() else None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """All it prints until it ends."""
        streams = (self.stdout, self.stderr)
        out, err = await asyncio.gather(*(one.read() if one else _nothing() for one in streams))
        await self.wait()
        return out, err


async def _nothing() -> bytes:
    return b""


async def dongne(
    *words: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdout: Output = PIPE,
    stderr: Output = PIPE,
) -> Forked:
    """Run `dongne words` with this environment and no other; it has begun when this returns."""
    readers: list[asyncio.StreamReader | None] = []
    handles: list[int] = []
    made: list[int] = []
    for output in (stdout, stderr):
        reader = None
        if output == PIPE:
            reader, handle = await _pipe()
            made.append(handle)
        elif output == STDOUT:
            handle = handles[0]
        else:
            handle = output if isinstance(output, int) else output.fileno()
        readers.append(reader)
        handles.append(handle)
    program = _Program(partial(_dongne, words), env, cwd, *handles)
    process = _context.Process(target=program)
    await asyncio.to_thread(process.start)  # the first one waits for the imports
    for handle in made:
        os.close(handle)
    return Forked(process, *readers)


def run_dongne(
    *words: str, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `dongne words` to its end, as subprocess.run does with captured text."""
    return _run(partial(_dongne, words), env, cwd, words)


class Started:
    """What subprocess.Popen is to a program that was executed; both outputs go into `stdout`."""

    def __init__(self, text: str, env: Mapping[str, str]) -> None:
        reading, writing = os.pipe()
        work = partial(_text, text)
        self._process = _context.Process(target=_Program(work, env, None, writing, writing))
        self._process.start()
        os.close(writing)
        self.stdout = os.fdopen(reading, encoding="utf-8")

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutError."""
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise TimeoutError
        return code


def run_text(text: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program given as text to its end, as subprocess.run does with captured text."""
    return _run(partial(_text, text), env, None, (text,))


def _run(
    work: Callable[[], object], env: Mapping[str, str], cwd: Path | None, words: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = _Program(work, env, cwd, out.fileno(), err.fileno())
        process = _context.Process(target=program)
        process.start()
        process.join()
        assert process.exitcode is not None
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(words, process.exitcode, *said)


def _dongne(words: tuple[str, ...]) -> None:
    from hub.commands.cli import main  # imported before the fork

    sys.argv = ["dongne", *words]
    main()


def _text(text: str) -> None:
    exec(text, {"__name__": "__main__"})


async def _pipe() -> tuple[asyncio.StreamReader, int]:
    """A reader, and the descriptor to write to."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: _UntilItEnds(reader), os.fdopen(reading))
    return reader, writing


class _UntilItEnds(asyncio.StreamReaderProtocol):
    """Closes the pipe when the other end did; the one of asyncio leaves that to its owner."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


class _Program:
    """What runs in the new process; the descriptors go along with the pickle."""

    def __init__(
        self,
        work: Callable[[], object],
        env: Mapping[str, str],
        cwd: Path | None,
        out: int,
        err: int,
    ) -> None:
        self._work = work
        self._env = dict(env)
        self._cwd = cwd or Path.cwd()
        self._handles: tuple[Any, ...] = (out, err)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": tuple(DupFd(one) for one in self._handles)}

    def __call__(self) -> None:
        for number, handle in enumerate(self._handles, 1):
            given = handle.detach()
            os.dup2(given, number)
            os.close(given)
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", buffering, encoding="utf-8", closefd=False)
            for number, buffering in ((1, -1), (2, 1))
        )
        os.environ.clear()
        os.environ.update(self._env)
        os.chdir(self._cwd)
        self._work()
