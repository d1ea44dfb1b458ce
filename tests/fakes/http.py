"""What the stand-ins over HTTP/1.1 have in common: a server that misbehaves on order."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.fakes.script import Fault, Script

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpFake(Script):
    """A subclass says in `steps` what it answers to, and calls `misbehaves` where it may go wrong.

    `asked` counts the requests.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__()
        self.dead = asyncio.Event()
        self.asked = 0
        self._tls = tls
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._dying: asyncio.Task[None] | None = None

    def steps(self) -> list[web.RouteDef]:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Also after a death: on the same port, with the same memory."""
        self.revive()
        self.dead.clear()
        app = web.Application(client_max_size=65_536)
        app.add_routes([*self.steps(), *self.routes()])
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self._port, ssl_context=self._tls, reuse_address=True
        )
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cuts every conversation; a second call does nothing."""
        self.end()
        self.dead.set()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def misbehaves(
        self, request: web.Request, at: str, message: dict[str, Any]
    ) -> web.StreamResponse | None:
        """The answer of the fault armed for this step; None: go on as always, with `message`
        recorded."""
        fault = self.next_fault(at, message)
        if fault is None:
            await self.record(message)
            return None
        if fault.taken:
            await self.record(message)
        answer = await self.act(request, fault)
        if answer is None and not fault.taken:
            await self.record(message)
        return answer

    async def act(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """The answer of the fault; None after a hold: go on as always."""
        match fault.action:
            case "answer":
                text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
                return web.Response(text=text, status=fault.status, headers=fault.headers)
            case "half":
                return await self._half(request, fault)
            case "hold":
                if await self.hold():
                    return None
            case "hang":
                await self.hang()
            case "die":
                self._dying = asyncio.create_task(self.stop())
        return _cut(request)

    async def _half(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        answer = web.StreamResponse(status=fault.status, headers=fault.headers)
        answer.content_length = 1000
        await answer.prepare(request)
        await answer.write(b'{"half')
        _cut(request)
        return answer


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
