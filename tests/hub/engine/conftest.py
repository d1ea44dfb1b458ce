"""Served engines for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from hub.engine import Options, Server

from .wire import Site

Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
def options() -> Options:
    return Options(cors_origins="*", accept_rate=100_000, conn_max_ip=100_000)


@pytest.fixture
def sio(options: Options) -> Server:
    """A server to attach handlers to; ``serve()`` makes it listen."""
    return Server(options, namespaces=["/", "/custom"])


@pytest.fixture
async def serve(sio: Server) -> AsyncIterator[Serve]:
    async with aiohttp.ClientSession() as http:

        async def start(server: Server = sio, **kwargs: Any) -> Site:
            servers.append(server)
            return Site(await server.listen("127.0.0.1", 0, **kwargs), http)

        servers: list[Server] = []
        yield start
        for server in servers:
            await server.close()


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await serve()
