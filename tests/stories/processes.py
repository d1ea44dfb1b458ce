"""Doors as separate processes, as an operator has them: started, awaited, killed, restarted."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conftest import SECRETS
from tests.forked import STDOUT, Forked, dongne, run_forked

READY = re.compile(r"^dongne (\w+) ready on (\S+)", re.MULTILINE)
START_S = 30.0
STOP_S = 20.0


def environment(database_url: str, redis_url: str, **settings: str) -> dict[str, str]:
    """Of doors side by side on these stores, each on ports of its own."""
    return {
        "APP_ENV": "test",
        "LOG_LEVEL": "info",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "API_PORT": "0",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        **settings,
        **SECRETS,
    }


class Door:
    """`dongne NAME` with its own environment; its output is kept in a file.

    It is forked, unless its start itself is to be seen: then `python -m hub.commands.cli NAME` is
    executed. `work` is what is forked instead of the command.
    """

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        log: Path,
        *,
        executed: bool = False,
        work: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.url = ""
        self._env = {**os.environ, **env}
        self._log = log
        self._executed = executed
        self._work = work
        self._process: Process | Forked | None = None

    async def start(self) -> None:
        with self._log.open("ab") as out:
            begin = out.tell()
            if self._executed:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "hub.commands.cli", self.name),
                    env=self._env,
                    stdout=out,
                    stderr=out,
                )
            elif self._work is not None:
                self._process = await run_forked(
                    self._work, env=self._env, stdout=out, stderr=STDOUT
                )
            else:
                self._process = await dongne(self.name, env=self._env, stdout=out, stderr=STDOUT)
        async with asyncio.timeout(START_S):
            while not (match := READY.search(self.output(begin))):
                if self._process.returncode is not None:
                    raise AssertionError(f"{self.name} ended:\n{self.output()[-3000:]}")
                await asyncio.sleep(0.05)
        self.url = match[2]

    def output(self, begin: int = 0) -> str:
        return self._log.read_bytes()[begin:].decode(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """As a crash does: SIGKILL, nothing is cleaned up."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self, timeout: float = STOP_S) -> int:
        """SIGTERM and wait; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def wait(self, timeout: float = STOP_S) -> int:
        """Until it ends by itself (a fault planted by the test)."""
        assert self._process is not None
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None


@asynccontextmanager
async def doors(*started: Door) -> AsyncIterator[None]:
    """Start all; whatever still runs at the end is stopped, and killed if it does not stop."""
    try:
        for door in started:
            await door.start()
        yield
    finally:
        for door in reversed(started):
            if door.alive:
                try:
                    await door.stop()
                except TimeoutError:
                    await door.kill()
                    raise
