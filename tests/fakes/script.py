"""What a stand-in provider does wrong, what it received, and how another process steers it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

Action = Literal["answer", "hold", "hang", "close", "die", "half", "goaway", "refuse"]
"""answer: with the fault's own answer. hold: until released, then as always. hang: never.
close: the connection is cut. die: the whole server goes away. half: a part of the answer, then the
connection is cut. goaway, refuse: HTTP/2's ways not to take a request up."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, `times` times, `at` one step of the provider's conversation.

    `taken`: the message counts as received before this happens (the provider took it over, and we
    never heard of it). `status`, `body`, `headers` answer over HTTP; `reply` over SMTP.
    """

    at: str
    action: Action = "answer"
    status: int = 503
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reply: str = "451 4.3.0 try later"
    taken: bool = False
    times: int = 1


Weather = Callable[[str, dict[str, Any]], Fault | None]
"""What goes wrong with one message at a step, where nothing was armed for that."""


@dataclass(frozen=True, slots=True)
class Call:
    """A message brought to the provider, whatever it answers; `at`: seconds since 1970."""

    at: float
    message: dict[str, Any]


class Script:
    """The faults still to come and the messages received, in order; entered, it serves.

    `calls`: all that was brought, taken or not. `weather`: faults that nobody arms one by one.
    """

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.weather: Weather | None = None
        self.held = 0
        self._faults: deque[Fault] = deque()
        self._changed = asyncio.Condition()
        self._gate = asyncio.Event()
        self._given_out = 0
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    def arm(self, *faults: Fault) -> None:
        for fault in faults:
            self._faults.extend([fault] * fault.times)

    def next_fault(self, at: str, message: dict[str, Any] | None = None) -> Fault | None:
        """The first fault armed for this step, which is used up; else what the weather says of
        the message."""
        for fault in self._faults:
            if fault.at == at:
                self._faults.remove(fault)
                return fault
        return None if self.weather is None or message is None else self.weather(at, message)

    def note(self, message: dict[str, Any]) -> None:
        """A message has come, whatever becomes of it."""
        self.calls.append(Call(time.time(), message))

    async def record(self, item: dict[str, Any]) -> None:
        self.received.append({"n": len(self.received) + 1, **item})
        await self.changed()

    async def next_message(self, timeout: float) -> dict[str, Any]:
        """The first message nobody has asked for yet. Raises TimeoutError."""
        wanted = self._given_out + 1
        await self.wait(lambda: len(self.received) >= wanted, timeout)
        self._given_out = wanted
        return self.received[wanted - 1]

    async def wait_held(self, timeout: float, count: int = 1) -> None:
        """Until that many conversations stand at a `hold`. Raises TimeoutError."""
        await self.wait(lambda: self.held >= count, timeout)

    async def wait(self, condition: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def hold(self) -> bool:
        """Stands still until released (true), or until the server goes (false)."""
        self.held += 1
        await self.changed()
        try:
            await _first(self._gate.wait(), self._gone.wait())
        finally:
            self.held -= 1
        return not self._gone.is_set()

    def release(self) -> None:
        """Everybody held goes on; whoever comes to a `hold` later is held anew."""
        self._gate.set()
        self._gate = asyncio.Event()

    async def hang(self) -> None:
        await self._gone.wait()

    def end(self) -> None:
        self._gone.set()

    def revive(self) -> None:
        self._gone = asyncio.Event()

    async def changed(self) -> None:
        """Whoever waits looks again."""
        async with self._changed:
            self._changed.notify_all()

    def routes(self) -> list[web.RouteDef]:
        """The steering of a stand-in that runs as its own process."""
        return [
            web.get("/control/messages", self._get_messages),
            web.get("/control/held", self._get_held),
            web.post("/control/faults", self._post_faults),
            web.post("/control/release", self._post_release),
        ]

    async def _get_messages(self, request: web.Request) -> web.Response:
        """?after=N&wait=S: what came after number N, waiting up to S seconds for the first."""
        after, wait = int(request.query.get("after", 0)), float(request.query.get("wait", 0))
        try:
            await self.wait(lambda: len(self.received) > after, wait)
        except TimeoutError:
            return web.json_response([])
        return web.json_response(self.received[after:])

    async def _get_held(self, request: web.Request) -> web.Response:
        """?count=N&wait=S: how many stand at a hold, waiting up to S seconds for N of them."""
        count, wait = int(request.query.get("count", 1)), float(request.query.get("wait", 0))
        try:
            await self.wait_held(wait, count)
        except TimeoutError:
            return web.json_response({"held": self.held}, status=408)
        return web.json_response({"held": self.held})

    async def _post_faults(self, request: web.Request) -> web.Response:
        self.arm(*[Fault(**raw) for raw in await request.json()])
        return web.Response(status=204)

    async def _post_release(self, request: web.Request) -> web.Response:
        self.release()
        return web.Response(status=204)


async def _first(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
