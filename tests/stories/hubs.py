"""A hub of several processes under test, and the stock clients that come back to it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import socketio

from hub.domain.context import Domain
from protocol.tokens import sign_access
from tests.forked import Forked
from tests.stories.cluster.nodes import make_questions

PATIENCE_S = 30.0
COUNT = 3


class Hubs:
    """A running parent; `lines` are what it and its processes printed."""

    def __init__(self, process: Forked) -> None:
        self.process = process
        self.lines: list[str] = []
        self._over = False
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._changed:
                self.lines.append(line.decode().rstrip())
                self._changed.notify_all()
        async with self._changed:
            self._over = True
            self._changed.notify_all()

    async def said(self, beginning: str) -> str:
        """The first line that begins so, without its beginning."""
        found = await self._until(lambda: [one for one in self.lines if one.startswith(beginning)])
        return str(found[0]).removeprefix(beginning)

    async def logged(self, sentence: str, count: int = 1) -> list[dict[str, Any]]:
        """That many lines of the log with this sentence."""

        def found() -> list[dict[str, Any]]:
            return [one for one in self.log() if one["event"] == sentence]

        return (await self._until(lambda: found() if len(found()) >= count else []))[:count]

    def log(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.lines if line.startswith("{"))

    async def _until(self, found: Callable[[], list[Any]]) -> list[Any]:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(lambda: self._over or found())
        assert found(), "\n".join(self.lines)
        return found()

    async def ready(self, count: int = COUNT) -> list[int]:
        """The pids of the first `count` that became ready."""
        return [one["pid"] for one in await self.logged("a hub process is ready", count)]

    @property
    def url(self) -> str:
        return self._named("dongne hub ready on ")

    @property
    def metrics_url(self) -> str:
        return self._named("dongne metrics listens on ")

    def _named(self, beginning: str) -> str:
        (line,) = (one for one in self.lines if one.startswith(beginning))
        return line.removeprefix(beginning).split()[0].replace("localhost", "127.0.0.1")

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await self.ended()

    async def close(self) -> None:
        """Whatever a failed test left is killed; all that it started has gone."""
        pids = [one["pid"] for one in self.log() if one["event"] == "a hub process is ready"]
        if self.process.returncode is None:
            self.process.kill()
        for pid in pids:
            with suppress(FileNotFoundError, ProcessLookupError):
                if b"hub.commands.cli" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        await self.ended()
        await gone(*pids)
        await self._reading


async def gone(*pids: int) -> None:
    """Until none of these processes runs, whoever's children they are now."""
    loop = asyncio.get_running_loop()
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)  # pidfd_open(2): readable when it has ended
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)


class Phone:
    """The stock Python client, which comes back by itself; it sends pid and offset as the README
    says. `heard` are the numbers of what it was told, `recovered` what each `ready` said.
    """

    def __init__(self, returns: bool) -> None:
        self.heard: list[int] = []
        self.lost = False
        self.recovered: list[bool] = []
        self._known: dict[str, Any] = {}
        self._changed = asyncio.Condition()
        self.sio = socketio.AsyncClient(
            reconnection=returns, reconnection_delay=0.1, reconnection_delay_max=0.5
        )
        self.sio.on("disconnect", self._lost)
        self.sio.on("ready", self._ready)
        self.sio.on("news", self._news)

    def _lost(self, _reason: str) -> None:
        self.lost = True

    async def _ready(self, data: dict[str, Any]) -> None:
        self._known["pid"] = data["pid"]
        async with self._changed:
            self.recovered.append(data["recovered"])
            self._changed.notify_all()

    async def _news(self, data: dict[str, Any], offset: str) -> None:
        self._known["offset"] = offset
        async with self._changed:
            self.heard.append(data["n"])
            self._changed.notify_all()

    async def connect(self, url: str, token: str, question: str) -> None:
        self._known["token"] = token
        await self.sio.connect(url, auth=lambda: self._known, transports=["websocket"])
        await self.until(lambda: bool(self.recovered))
        answer = await self.sio.call("question:join", {"questionId": question})
        assert answer["ok"], answer

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(true)

    async def hears(self, number: int) -> None:
        await self.until(lambda: number in self.heard)

    async def comes_back(self) -> None:
        await self.until(lambda: len(self.recovered) > 1)

    async def close(self) -> None:
        await self.sio.shutdown()  # coming back ends, too
        await self.sio.disconnect()  # what a lost connection left open


@asynccontextmanager
async def phones(
    domain: Domain, url: str, count: int, *, returns: bool = True
) -> AsyncIterator[tuple[list[Phone], str]]:
    """Connected and in the room of one question, whose id is the second."""
    (question,) = await make_questions(domain, 1)
    people = [Phone(returns) for _ in range(count)]
    try:
        async with asyncio.TaskGroup() as group:
            for n, phone in enumerate(people):
                keys, now = domain.tokens, domain.now()
                token = sign_access(keys, f"p{n}", "user", now=now, ttl_s=900, jti=str(uuid4()))
                group.create_task(phone.connect(url, token, question))
        yield people, question
    finally:
        await asyncio.gather(*(phone.close() for phone in people))
