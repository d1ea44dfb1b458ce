"""An identity provider's key set on a real port, whose answer a test chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class JwksServer:
    """`keys` stand in the set; `answer`, where given, is sent instead, once. `asked` counts
    requests; none is answered while `goes_on` is clear.
    """

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.answer: web.Response | None = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.asked = 0
        self.elsewhere = 0
        self.url = ""

    async def _set(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.goes_on.wait()
        if self.answer is not None:
            given, self.answer = self.answer, None
            return given
        return web.json_response({"keys": self.keys})

    async def _elsewhere(self, _: web.Request) -> web.Response:
        """Where a redirect would lead."""
        self.elsewhere += 1
        return web.json_response({"keys": self.keys})

    @asynccontextmanager
    async def running(self) -> AsyncIterator["JwksServer"]:
        app = web.Application()
        app.router.add_get("/keys", self._set)
        app.router.add_get("/elsewhere", self._elsewhere)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/keys"
        yield self
        self.goes_on.set()
        await runner.cleanup()
