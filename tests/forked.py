"""`dongne …` as a process of its own without the time of a start: forked from one that has imported
it.

An import costs a second of CPU, a fork a hundredth. The process that forks is the forkserver of
multiprocessing: it has one thread and no loop, so that what it forks is as good as new. Tests of the
start itself begin with `python -m hub.commands.cli` instead.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
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
    "hub.commands.processes",
    "hub.commands.start",
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
        if output == PIPE:
            reader, handle = await _pipe()
            made.append(handle)
        elif output == STDOUT:
            reader, handle = None, handles[0]
        else:
            reader, handle = None, output if isinstance(output, int) else output.fileno()
        readers.append(reader)
        handles.append(handle)
    process = _context.Process(
        target=_Start(words, dict(env), str(cwd or Path.cwd()), *handles), daemon=False
    )
    await asyncio.to_thread(process.start)  # the first one waits for the imports
    for handle in made:
        os.close(handle)
    return Forked(process, *readers)


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


class _Start:
    """Becomes `dongne words`; the descriptors go along with the pickle."""

    def __init__(
        self, words: tuple[str, ...], env: dict[str, str], cwd: str, out: int, err: int
    ) -> None:
        self._words = words
        self._env = env
        self._cwd = cwd
        self._handles: tuple[Any, ...] = (out, err)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": tuple(DupFd(one) for one in self._handles)}

    def __call__(self) -> None:
        for number, handle in enumerate(self._handles, 1):
            given = handle.detach()
            os.dup2(given, number)
            os.close(given)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(self._env)
        os.chdir(self._cwd)
        sys.argv = ["dongne", *self._words]

        from hub.commands.cli import main  # imported before the fork

        main()
