"""What is said before a handler runs, how long anything may take, how many may be open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from aiohttp import web

from hub.engine import Options, Server
from hub.plumbing.http import server as http
from hub.plumbing.http.connections import PROCESS, Connections

from .conftest import Serve
from .test_doors import body_of, one_answer, request, status_of
from .wire import Site

UNREADABLE = {
    "a long cookie": request(f"Cookie: {'c' * 9000}", upgrade=False),
    "a long cookie elsewhere": request(f"Cookie: {'c' * 9000}", target="/x", upgrade=False),
    "a very long cookie": request(f"Cookie: {'c' * 40_000}", upgrade=False),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    "stray bytes": b"\x00\xff\x00\xff",
    "a bad line": b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a bad length": b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
}


@pytest.mark.fault(8, 30)
@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_is_one_quiet_line_and_a_coded_body(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as told:
        answer = await site.raw(UNREADABLE[name])
    assert status_of(answer) == 400
    assert body_of(answer)["error"]["code"] == "INVALID_PAYLOAD"
    assert b"aiohttp" not in answer
    assert b"Python" not in answer
    assert [one["log_level"] for one in told] == ["info"]
    assert set(told[0]) == {"event", "log_level", "reason"}
    assert told[0]["reason"].isidentifier()
    assert not caplog.records


@pytest.mark.fault(8, 30)
@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (request(target="/nothing", upgrade=False), 404, "NOT_FOUND"),
        (request(target="/here", method="POST", upgrade=False), 405, "NOT_FOUND"),
        (request("Expect: tea", target="/here", upgrade=False), 417, "INVALID_PAYLOAD"),
        (request(target="/broken", upgrade=False), 500, "INTERNAL"),
    ],
)
async def test_what_aiohttp_says_has_our_code_and_no_versions(
    serve: Serve, head: bytes, status: int, code: str
) -> None:
    async def here(_: web.Request) -> web.Response:
        return web.Response()

    async def broken(_: web.Request) -> web.Response:
        raise LookupError

    app = web.Application()
    app.router.add_get("/here", here)
    app.router.add_get("/broken", broken)
    answer = await (await serve(app=app)).raw(head)
    assert status_of(answer) == status
    assert body_of(answer)["error"]["code"] == code
    assert b"\r\nServer: dongne-hub\r\n" in answer


SILENT = {
    "nothing": b"",
    "a partial head": b"GET /soc",
    "a partial head of another method": b"POST /socket.io/ HTTP/1.1\r\nHost: h\r\n",
    "a partial head of another path": b"GET /health HTTP/1.1\r\nHost:",
    "a poll's body that never comes": request(
        "Content-Length: 2", target="/socket.io/?EIO=4&transport=polling&sid=", method="POST",
        upgrade=False,
    ),
    "half a body": request("Content-Length: 9", target="/x", method="POST", upgrade=False) + b"ab",
    "half a chunked body": request(
        "Transfer-Encoding: chunked", target="/x", method="POST", upgrade=False
    )
    + b"5\r\nab",
}  # fmt: skip


@pytest.mark.fault(8, 27)
@pytest.mark.parametrize("name", SILENT)
async def test_who_says_nothing_more_is_closed(serve: Serve, name: str) -> None:
    """Whether or not an answer came first, the connection ends soon."""
    server = Server(Options(connect_timeout=0.1))
    site = await serve(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(SILENT[name])
    async with asyncio.timeout(http.LINGER + 1):
        await reader.read()
    writer.close()
    assert server._listener is not None
    assert server._listener.transports.counted.open == 0


@pytest.mark.fault(8, 27)
async def test_a_polling_session_s_body_that_never_comes(serve: Serve, sio: Server) -> None:
    site = await serve(Server(Options(connect_timeout=0.2)))
    sid = await site.open_polling()
    target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    head = request("Content-Length: 9", target=target, method="POST", upgrade=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head)
    async with asyncio.timeout(http.LINGER + 1):
        answer = await reader.read()
    assert status_of(answer) in (400, 408)
    assert (await site.poll(sid))[0] == 400
    writer.close()


@pytest.mark.fault(2, 8)
@pytest.mark.parametrize("where", ["socket.io/?EIO=4&transport=polling&sid={sid}", "nothing"])
async def test_a_body_that_cannot_be_read_waits_for_no_deadline(site: Site, where: str) -> None:
    sid = await site.open_polling()
    head = request(
        "Transfer-Encoding: chunked", target="/" + where.format(sid=sid), method="POST",
        upgrade=False,
    )  # fmt: skip
    begin = time.monotonic()
    answer = await site.raw(head + b"zz\r\nab\r\n")
    assert status_of(answer) in (400, 404)
    assert time.monotonic() - begin < 1


@pytest.mark.fault(27)
async def test_connections_of_an_address_are_capped(serve: Serve, record_property: Any) -> None:
    """Whatever they carry; and each that ends makes room."""
    server = Server(Options(conn_max_ip=2))
    site = await serve(server)
    assert server._listener is not None
    counted = server._listener.transports.counted
    most = counted.each
    assert most is not None
    streams = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(most)]
    for index, (_, writer) in enumerate(streams):
        writer.write((b"GET /half", b"POST /half", request(target="/x", upgrade=False))[index % 3])
    await _until(lambda: counted.open == most)
    assert await site.raw(request("Connection: Upgrade")) == b""
    record_property("seen", f"{most} connections of an address with CONN_MAX_IP=2")
    streams[0][1].close()
    await _until(lambda: counted.open == most - 1)
    assert status_of(await site.raw(request("Connection: Upgrade"))) == 101
    for _, writer in streams:
        writer.close()
    await _until(lambda: counted.open == 0)


@pytest.mark.fault(27)
async def test_behind_a_proxy_only_the_process_is_capped(serve: Serve) -> None:
    server = Server(Options(conn_max_ip=1, trust_proxy=1))
    await serve(server)
    assert server._listener is not None
    assert server._listener.transports.counted.each is None


@pytest.mark.fault(27)
def test_descriptors_are_left_for_stores_and_health() -> None:
    before = PROCESS.open
    many = Connections(None, 1 << 40)
    spared = Connections(None, 1 << 40, spared=True)
    many.most_of_process, spared.most_of_process = before + 3, before + 4
    assert [many.take("") for _ in range(5)] == [True] * 3 + [False] * 2
    assert [spared.take("") for _ in range(2)] == [True, False]
    for _ in range(3):
        many.release("")
    spared.release("")
    assert PROCESS.open == before


@pytest.mark.fault(27)
async def test_connections_are_counted_whichever_way_they_go(site: Site, sio: Server) -> None:
    """From us to aiohttp and back again, each is counted once."""
    assert sio._listener is not None
    counted = sio._listener.transports.counted
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request(target="/nothing", upgrade=False))
    await one_answer(reader)
    assert counted.open == 1
    writer.write(request("Connection: Upgrade"))
    await reader.readuntil(b'"maxPayload"')
    assert counted.open == 1
    assert len(sio._listener.transports.open) == 1
    writer.close()
    await _until(lambda: counted.open == 0)
    assert counted._by_network == {}


async def _until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def talking(
    app: web.Application, times: http.Times
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Connections]]:
    """A connection to a server of its own, and what that one counts."""
    counted = Connections(None, 10)
    server = http.HttpServer(app, counted, times)
    port = await server.listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    try:
        yield reader, writer, counted
    finally:
        writer.close()
        await server.close()


async def large(_: web.Request) -> web.Response:
    return web.Response(body=bytes(32 << 20))  # more than what kernels hold


async def long(_: web.Request) -> web.Response:
    await asyncio.sleep(1)
    return web.Response()


def serving(handler: Any) -> web.Application:
    app = web.Application()
    app.router.add_get("/it", handler)
    return app


@pytest.mark.fault(27)
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_who_does_not_read_an_answer_is_cut(connection: str) -> None:
    times = http.Times(write=0.1, close=0.1)
    async with talking(serving(large), times) as (_, writer, counted):
        writer.write(request(f"Connection: {connection}", target="/it", upgrade=False))
        await _until(lambda: counted.open == 1)
        await _until(lambda: counted.open == 0)


@pytest.mark.fault(27)
async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async with talking(web.Application(), http.Times(idle=0.5)) as (reader, writer, _):
        for _ in range(8):  # longer than idle, but never idle for so long
            writer.write(request(target="/x", upgrade=False))
            assert status_of(await one_answer(reader)) == 404
            await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            assert await reader.read() == b""


@pytest.mark.fault(27)
async def test_a_handler_may_take_its_time_and_a_head_may_not() -> None:
    """A poll outlives every deadline; a head that dribbles in does not."""
    times = http.Times(head=0.5, body=0.5, idle=0.5, write=0.5, close=0.5)
    async with talking(serving(long), times) as (reader, writer, counted):
        writer.write(request(target="/it", upgrade=False))
        assert status_of(await one_answer(reader, patience=5)) == 200
        for byte in b"GET /it HTTP/1.1\r\nX: " + bytes(200).replace(b"\0", b"x"):
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.02)
            if not counted.open:
                break
        assert not counted.open
