"""`dongne doctor` against a hub with its api, and through proxies that each do one thing wrong."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from api.health import Vitals
from hub.commands.doctor import QUICK, Finding, Path, examine, idle
from hub.commands.open_api import api_app
from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.sockets.assembly import open_hub
from protocol.tokens import sign_access

Change = Callable[[bytes], bytes]
"""What a proxy makes of the bytes of a request."""


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[str]:
    """The hub and the api on one port, as `dongne up` has them, but for the figures."""
    sockets = settings.sockets.model_copy(update={"ping_interval_ms": 1000})
    settings = replace(settings, sockets=sockets)
    life = Lifecycle()
    domain = await open_domain(life, settings)
    hub = await open_hub(life, settings, domain)
    app = api_app(life, domain, settings, Vitals({}))
    yield f"http://127.0.0.1:{await hub.start('127.0.0.1', 0, app)}"
    await life.close()


@pytest.fixture
def token(settings: Settings) -> str:
    now = datetime.now(UTC)
    keys = settings.auth.token_keys
    return sign_access(keys, "mina", "user", now=now, ttl_s=600, jti=str(uuid4()))


@asynccontextmanager
async def proxy(
    door: str, change: Change = lambda sent: sent, *, cut_s: float | None = None
) -> AsyncIterator[str]:
    """Before the door; `cut_s`: how long a connection may be quiet."""
    upstream = URL(door)
    assert upstream.host
    links: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back = await asyncio.open_connection(upstream.host, upstream.port)
        links.update((writer, back))

        async def pass_on(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, change: Change
        ) -> None:
            while sent := await asyncio.wait_for(source.read(65536), cut_s):
                sink.write(change(sent))
            sink.close()

        ways = pass_on(reader, back, change), pass_on(back_reader, writer, lambda sent: sent)
        await asyncio.gather(*ways, return_exceptions=True)
        for link in (writer, back):
            link.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for link in links:
            link.transport.abort()
        await server.wait_closed()


async def found(url: str, token: str | None, *names: str) -> dict[str, Finding]:
    known = {**QUICK, "idle": idle}
    checks = {name: known[name] for name in names or QUICK}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        return {one.name: one async for one in examine(Path(URL(url), http, token), checks)}


def ill(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: one.said for name, one in findings.items() if not one.well}


async def test_a_good_path_is_walked_to_its_end(door: str, token: str) -> None:
    async with proxy(door) as url:
        findings = await found(url, token)
        assert ill(findings) == {}
        assert set(findings) == set(QUICK)
        assert re.fullmatch(
            r"ready, and an event is acknowledged in \d+ ms", findings["connect"].said
        )
        assert findings["recovery"].said == "a session that was cut is recovered"
        assert (await found(url, token, "idle"))["idle"].well


async def test_without_a_token_it_stops_behind_the_refusal(door: str) -> None:
    findings = await found(door, None)
    assert ill(findings) == {}
    assert findings["connect"].said == "Socket.IO answers; give --token to go on"
    assert findings["recovery"].said == "not tried: it needs --token"


async def test_a_token_of_somewhere_else_is_named(door: str, token: str) -> None:
    findings = await found(door, token[:-4] + "AAAA", "connect")
    assert ill(findings) == {"connect": "CONNECT is refused: UNAUTHENTICATED"}


async def test_a_proxy_without_upgrades_is_named_and_polling_is_not_blamed(
    door: str, token: str
) -> None:
    def change(sent: bytes) -> bytes:
        return re.sub(rb"(?i)\r\n(upgrade|connection):[^\r]*", b"", sent)

    async with proxy(door, change) as url:
        findings = await found(url, token)
    assert set(ill(findings)) == {"websocket", "upgrade", "connect", "recovery"}
    assert findings["websocket"].said.startswith("the upgrade is answered 4")
    assert "pass Upgrade and Connection on" in findings["websocket"].mend


async def test_a_proxy_that_forgets_the_session_is_named(door: str, token: str) -> None:
    """Every second connection comes to a node that does not know it."""
    sent_to_another = False

    def change(sent: bytes) -> bytes:
        nonlocal sent_to_another
        if b"sid=" in sent:
            sent_to_another = not sent_to_another
            return re.sub(rb"sid=[\w-]+", b"sid=unknown", sent) if sent_to_another else sent
        return sent

    async with proxy(door, change) as url:
        findings = await found(url, token, "sticky")
    assert findings["sticky"].said == "3 of 6 requests of one session reached another node"


async def test_a_proxy_with_little_patience_is_named(door: str, token: str) -> None:
    async with proxy(door, cut_s=0.3) as url:
        findings = await found(url, token, "idle")
    assert re.fullmatch(r"a quiet socket is cut after \d s", findings["idle"].said)
    assert "PING_INTERVAL" in findings["idle"].mend


async def test_routes_that_end_at_the_proxy_are_named() -> None:
    """A 404 of ours says so; whatever else answers one is not the api."""

    async def documented(_: web.Request) -> web.Response:
        names = ("/api/v1/regions", "/api/v1/questions/{id}", "/api/v1/health/ready")
        return web.json_response({"paths": {name: {"get": {}} for name in names}})

    async def ours(_: web.Request) -> web.Response:
        error = {"code": "NOT_FOUND", "message": "", "requestId": "1"}
        return web.json_response({"error": error}, status=404)

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=502)

    app = web.Application()
    app.router.add_get("/docs/openapi.json", documented)
    app.router.add_get("/api/v1/questions/doctor", ours)
    app.router.add_get("/api/v1/health/ready", away)
    async with TestServer(app) as server:
        findings = await found(str(server.make_url("/")), None, "routes")
    assert findings["routes"].said == (
        "not reached: /api/v1/regions (404), /api/v1/health/ready (502)"
    )


async def test_nobody_at_the_address_fails_every_check() -> None:
    findings = await found("http://127.0.0.1:9", None)
    assert set(ill(findings)) == set(QUICK) - {"recovery"}
    assert all(
        "is the proxy up?" in one.mend for name, one in findings.items() if name != "recovery"
    )
