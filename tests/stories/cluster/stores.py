"""A Redis that may die: alone, or a master with a replica and three Sentinels. All real."""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.embedded.supervisor import free_port
from tests.hub.plumbing.stores.redis_server import PROGRAM

MASTER_NAME = "jeju"
PASSWORD = "a-password-of-the-stories"
BACK_S = 30.0


class Process:
    """One valkey-server; its port and folder outlive it."""

    def __init__(self, folder: Path, *options: str, sentinel: str = "") -> None:
        folder.mkdir()
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._sentinel = sentinel
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        if self._sentinel:
            conf = self._folder / "own.conf"
            conf.write_text(self._sentinel)
            arguments = [str(conf), *arguments, "--sentinel"]
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, *arguments, *self._options, stdout=asyncio.subprocess.DEVNULL
        )
        await self.answers()

    async def answers(self) -> None:
        """Until it answers."""
        async with asyncio.timeout(BACK_S):
            while not await self._ping():
                await asyncio.sleep(0.01)

    async def _ping(self) -> bool:
        async with self.client() as asks:
            with suppress(RedisError, OSError):
                return bool(await asks.ping())
        return False

    def client(self) -> Redis:
        password = None if self._sentinel else PASSWORD
        return Redis(port=self.port, password=password, protocol=2, socket_timeout=1.0)

    def send(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def end(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None and self._process.returncode is None:
            self.send(signal.SIGCONT)
            self.send(number)
            await self._process.wait()


class Store(ABC):
    """Where nodes find Redis: `settings` are what they read. The faults return the moment
    (monotonic) at which Redis answered again.
    """

    settings: dict[str, str]

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...


class Alone(Store):
    def __init__(self, folder: Path) -> None:
        auth = ("--requirepass", PASSWORD)
        self._server = Process(folder / "redis", *auth, "--appendonly", "yes", "--save", "")
        url = f"redis://:{PASSWORD}@127.0.0.1:{self._server.port}/0"
        self.settings = {"REDIS_URL": url}

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.end()

    async def restart(self, away_s: float = 2.0) -> float:
        """As an upgrade does."""
        await self._server.end(signal.SIGTERM)
        await asyncio.sleep(away_s)
        await self._server.start()
        return monotonic()

    async def crash(self, away_s: float = 2.0) -> float:
        """Its last second is lost, and it begins a new epoch."""
        await self._server.end(signal.SIGKILL)
        await asyncio.sleep(away_s)
        await self._server.start()
        return monotonic()

    async def freeze(self, seconds: float) -> float:
        self._server.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._server.send(signal.SIGCONT)
        return monotonic()


class Watched(Store):
    """A master, a replica, three Sentinels of which two must agree."""

    def __init__(self, folder: Path) -> None:
        auth = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--save", "")
        quick = ("--repl-diskless-sync-delay", "0")
        self._master = Process(folder / "master", *auth, *quick)
        follows = ("--replicaof", "127.0.0.1", str(self._master.port))
        self._replica = Process(folder / "replica", *auth, *quick, *follows)
        watch = (
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self._master.port} 2\n"
            f"sentinel auth-pass {MASTER_NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 1000\n"
            f"sentinel failover-timeout {MASTER_NAME} 4000\n"
        )
        self._sentinels = [Process(folder / f"sentinel{n}", sentinel=watch) for n in range(3)]
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self._sentinels)
        url = f"redis-sentinel://:{PASSWORD}@{hosts}/0"
        self.settings = {"REDIS_URL": url, "REDIS_MASTER_NAME": MASTER_NAME}

    async def start(self) -> None:
        for one in (self._master, self._replica, *self._sentinels):
            await one.start()
        async with asyncio.timeout(BACK_S):
            while not all([await self._knows_everybody(one) for one in self._sentinels]):
                await asyncio.sleep(0.1)

    async def _knows_everybody(self, sentinel: Process) -> bool:
        async with sentinel.client() as asks, self._master.client() as master:
            state: Any = await asks.sentinel_master(MASTER_NAME)
            synced = (await master.info("replication")).get("slave0", {}).get("state") == "online"
            known = state["num-other-sentinels"] == 2 and state["num-slaves"] == 1
            return bool(known and synced)

    async def stop(self) -> None:
        for one in (*self._sentinels, self._replica, self._master):
            await one.end()

    async def fail_over(self) -> float:
        """The master dies; the moment at which Sentinels name another one that is a master."""
        await self._master.end(signal.SIGKILL)
        async with asyncio.timeout(BACK_S):
            while not await self._promoted():
                await asyncio.sleep(0.02)
        return monotonic()

    async def _promoted(self) -> bool:
        async with self._sentinels[0].client() as asks, self._replica.client() as replica:
            state: Any = await asks.sentinel_master(MASTER_NAME)
            role = (await replica.info("replication"))["role"]
            return bool(state["port"] == self._replica.port and role == "master")
