"""The peer's address and origins: WebSocket and polling read them in one way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.engine import Options, Server
from tests.protocol.doors import SITES, WAYS, Way
from tests.protocol.doors import Site as From

from .conftest import Serve
from .test_doors import body_of, request, status_of
from .wire import Site


async def _both(site: Site, *lines: str) -> list[bytes]:
    """What a WebSocket and a polling handshake with these lines are answered."""
    polling = "/socket.io/?EIO=4&transport=polling"
    return [
        await site.raw(request("Connection: Upgrade", *lines)),
        await site.raw(request("Connection: close", *lines, target=polling, upgrade=False)),
    ]


@pytest.mark.fault(4)
@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_both_transports_read_the_peer_s_address_in_one_way(serve: Serve, way: Way) -> None:
    server = Server(Options(trust_proxy=way.hops))
    seen: list[str] = []
    server.refuse(lambda handshake: seen.append(handshake.address))
    site = await serve(server)
    await _both(site, *(f"X-Forwarded-For: {line}" for line in way.lines))
    assert seen == [way.address] * 2
    assert [link.environ["REMOTE_ADDR"] for link in server.eio.sockets.values()] == seen[1:]


@pytest.mark.fault(4, 27)
@pytest.mark.parametrize(
    "line",
    ["198.51.100.7", "6.6.6.{n}, 198.51.100.7", "198.51.100.7:{n}", "[2001:db8::{n}]:4000"],
)
async def test_a_client_behind_a_proxy_is_counted_as_one(serve: Serve, line: str) -> None:
    server = Server(Options(trust_proxy=1, conn_max_ip=3))
    site = await serve(server)
    async with asyncio.TaskGroup() as group:
        streams = [group.create_task(_upgraded(site, line.format(n=n))) for n in range(1, 7)]
    answers = [task.result()[0] for task in streams]
    assert sorted(answers) == [101, 101, 101, 503, 503, 503]
    for task in streams:
        task.result()[1].close()


async def _upgraded(site: Site, forwarded: str) -> tuple[int, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request("Connection: Upgrade", f"X-Forwarded-For: {forwarded}"))
    return status_of(await reader.readuntil(b"\r\n\r\n")), writer


@pytest.mark.fault(30)
@pytest.mark.parametrize("hops", [0, 1])
async def test_an_underscore_makes_no_forwarded_header(serve: Serve, hops: int) -> None:
    server = Server(Options(trust_proxy=hops))
    site = await serve(server)
    line = "X_Forwarded_For: 6.6.6.6", "X_Forwarded_Proto: https", "X_Device: d"
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request("Connection: Upgrade", *line))
    await reader.readuntil(b"\r\n\r\n")
    await site.raw(request(*line, target="/socket.io/?EIO=4&transport=polling", upgrade=False))
    for link in server.eio.sockets.values():
        assert link.environ["REMOTE_ADDR"] == "127.0.0.1"
        assert link.environ["wsgi.url_scheme"] == "http"
        assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_DEVICE"} & set(link.environ)
    assert len(server.eio.sockets) == 2
    writer.close()


@pytest.mark.fault(30)
@pytest.mark.parametrize(("hops", "scheme"), [(0, "http"), (1, "https")])
async def test_the_scheme_is_the_proxy_s_word_behind_one_only(
    serve: Serve, hops: int, scheme: str
) -> None:
    server = Server(Options(trust_proxy=hops))
    site = await serve(server)
    lines = "X-Forwarded-Proto: http, https", "X-Forwarded-Host: h"
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request("Connection: Upgrade", *lines))
    await reader.readuntil(b"\r\n\r\n")
    await site.raw(request(*lines, target="/socket.io/?EIO=4&transport=polling", upgrade=False))
    schemes = [link.environ["wsgi.url_scheme"] for link in server.eio.sockets.values()]
    assert schemes == [scheme] * 2
    writer.close()


@pytest.mark.fault(6)
@pytest.mark.parametrize("one", SITES, ids=str)
async def test_both_transports_take_the_same_origins(serve: Serve, one: From) -> None:
    listed: Any = "*" if one.listed == ("*",) else one.listed
    site = await serve(Server(Options(cors_origins=listed)))
    lines = [f"Origin: {origin}" for origin in one.origins]
    websocket, polling = await _both_of(site, one.host, lines)
    assert status_of(websocket) == (101 if one.passes else 403)
    assert status_of(polling) == (200 if one.passes else 403)
    assert b"Vary: Origin\r\n" in polling
    if one.passes and one.origins:
        assert f"Access-Control-Allow-Origin: {one.origins[0]}\r\n".encode() in polling
    else:
        assert b"Access-Control-Allow-Origin" not in polling
    if not one.passes:
        assert body_of(websocket) == body_of(polling) == {"code": 4, "message": "Forbidden"}


async def _both_of(site: Site, host: str, lines: list[str]) -> list[bytes]:
    polling = "/socket.io/?EIO=4&transport=polling"
    heads = (
        request("Connection: Upgrade", *lines),
        request("Connection: close", *lines, target=polling, upgrade=False),
    )
    return [
        await site.raw(head.replace(b"Host: h\r", f"Host: {host}\r".encode())) for head in heads
    ]


@pytest.mark.fault(6)
async def test_a_preflight_is_answered_by_the_same_rule(serve: Serve) -> None:
    site = await serve(Server(Options(cors_origins=("https://app.example",))))
    url = f"{site.url}/socket.io/?EIO=4&transport=polling"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
    async with site.http.options(url, headers={"Origin": "https://app.example", **asks}) as good:
        assert good.status == 200
        assert good.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert good.headers["Access-Control-Allow-Methods"] == "OPTIONS, GET, POST"
        assert good.headers["Access-Control-Allow-Headers"] == "x-a"
    async with site.http.options(url, headers={"Origin": "https://evil.example", **asks}) as bad:
        assert bad.status == 403
        assert "Access-Control-Allow-Origin" not in bad.headers


@pytest.mark.fault(4)
async def test_an_ipv6_address_can_be_listened_on(sio: Server) -> None:
    port = await sio.listen("::1", 0)
    try:
        reader, writer = await asyncio.open_connection("::1", port)
        writer.write(request("Connection: Upgrade"))
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 101
        assert [link.address for link in sio.eio.sockets.values()] == ["::1"]
        writer.close()
    finally:
        await sio.close()
