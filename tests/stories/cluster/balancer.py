"""A small TCP load balancer: each connection goes to the next node that says it is ready."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

ASK_EVERY_S = 0.1
ANSWER_S = 1.0
READY_S = 30.0


class Balancer:
    """`nodes` are the URLs by name, as they are now; a node that has none is not asked.

    `accepted` has the moment (monotonic) and the node of every connection passed on.
    """

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self._nodes = nodes
        self._ready: list[str] = []
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._asking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sides: set[_Side] = set()
        self.accepted: list[tuple[float, str]] = []

    async def start(self) -> str:
        """Listen and know who is ready; the URL for clients."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Side(self, self._join), "127.0.0.1", 0, backlog=4096
        )
        await self._ask_all()
        self._asking = asyncio.create_task(self._ask_again())
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        for task in (*self._tasks, *([self._asking] if self._asking else [])):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Every connection ends, as in a tunnel; new ones are passed on."""
        for side in tuple(self._sides):
            side.end()

    # --- who is ready ----------------------------------------------------------------------------

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            await self._ask_all()

    async def _ask_all(self) -> None:
        names = list(self._nodes)
        answers = await asyncio.gather(*(is_ready(self._nodes[name]) for name in names))
        self._ready = [name for name, ready in zip(names, answers, strict=True) if ready]

    def _next(self) -> str | None:
        if not self._ready:
            return None
        self._turn += 1
        return self._ready[self._turn % len(self._ready)]

    # --- connections -----------------------------------------------------------------------------

    def _join(self, client: "_Side") -> None:
        task = asyncio.create_task(self._pass_on(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, client: "_Side") -> None:
        """To the first of the nodes that takes the connection; closed when none does."""
        loop = asyncio.get_running_loop()
        while (name := self._next()) is not None:
            port = urlsplit(self._nodes[name]).port or 80
            try:
                _, server = await loop.create_connection(lambda: _Side(self), "127.0.0.1", port)
            except OSError:
                self._ready = [one for one in self._ready if one != name]
                continue
            self.accepted.append((monotonic(), name))
            client.pair(server)
            return
        client.end()

    def knows(self, side: "_Side") -> None:
        self._sides.add(side)

    def forgets(self, side: "_Side") -> None:
        self._sides.discard(side)


class _Side(asyncio.Protocol):
    """One end; what it reads the other end writes, no faster than that one takes it."""

    def __init__(self, owner: Balancer, made: "Callable[[_Side], None] | None" = None) -> None:
        self._owner = owner
        self._made = made
        self._other: _Side | None = None
        self._early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._owner.knows(self)
        if self._made is not None:
            self._made(self)

    def pair(self, other: "_Side") -> None:
        self._other, other._other = other, self
        if self.transport is None:  # the client has gone meanwhile
            other.end()
        elif self._early:
            other.write(self._early)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data
        else:
            self._other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def pause_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        self._owner.forgets(self)
        if self._other is not None:
            self._other.end()

    def end(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def ready(url: str) -> None:
    """Until it says that it is. Raises TimeoutError."""
    async with asyncio.timeout(READY_S):
        while not await is_ready(url):
            await asyncio.sleep(0.05)


async def is_ready(url: str, within_s: float = ANSWER_S) -> bool:
    """What /health/ready says; false also when nobody answers in time."""
    where = urlsplit(url)
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            try:
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
