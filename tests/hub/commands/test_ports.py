"""The ports beside the hub's: where they are, and that they have the same deadlines."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from api.health import Vitals
from hub.commands.ports import address, health_app, listen_at, plain_address
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:3001"),
        ("2001:db8::7", "http://[2001:db8::7]:3001"),
        ("::", "http://localhost:3001"),
        ("127.0.0.1", "http://localhost:3001"),
        ("hub.example.kr", "http://hub.example.kr:3001"),
    ],
)
def test_an_address_is_printed_as_it_is_typed(settings: Settings, host: str, url: str) -> None:
    changed = replace(settings, web=settings.web.model_copy(update={"host": host}))
    assert plain_address(changed, 3001) == address(changed, 3001) == url


@pytest.mark.fault(8, 27, 30)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    "sent", [b"", b"GET /metr", b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"]
)
async def test_the_metrics_port_closes_who_says_nothing_more(
    settings: Settings, host: str, sent: bytes
) -> None:
    sockets = settings.sockets.model_copy(update={"connect_timeout_s": 0.1})
    changed = replace(settings, sockets=sockets)
    life = Lifecycle()
    port = await listen_at(life, "metrics", health_app(Vitals({})), changed, host, 0)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer == b"" if len(sent) < 20 else b'"code":"NOT_FOUND"' in answer
    assert b"aiohttp" not in answer
    writer.close()
    await life.close()
