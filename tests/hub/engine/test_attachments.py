"""Packets whose rest comes late, or is too much."""

from __future__ import annotations

import asyncio

import msgpack
import pytest

from hub.engine import Options, Server

from .conftest import Serve
from .test_backpressure import Slow
from .wire import NO_CLOSE

BINARY = '452-["slow",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'


@pytest.mark.fault(25)
@pytest.mark.parametrize("came", [0, 1])
async def test_attachments_that_never_come_have_a_deadline(serve: Serve, came: int) -> None:
    server = Server(Options(connect_timeout=0.2))
    site = await serve(server)
    async with site.wire() as wire:
        await wire.connect()
        await wire.put(BINARY, *[b"x"] * came)
        async with asyncio.timeout(2):
            assert await wire.closed() == NO_CLOSE
    assert server.book.counters.rejected == {"attachments_late": 1}
    sid = await site.open_polling()
    await site.post(sid, "\x1e".join(["40", BINARY, *["beA=="] * came]))
    async with asyncio.timeout(2):
        while (await site.poll(sid))[0] == 200:
            pass


@pytest.mark.fault(25)
async def test_attachments_that_came_have_none(serve: Serve) -> None:
    server = Server(Options(connect_timeout=0.1))
    slow = Slow(server)
    slow.going.set()
    site = await serve(server)
    async with site.wire() as wire:
        await wire.connect()
        await wire.put(BINARY, b"a", b"b")
        assert await wire.silent(0.25)
    assert slow.seen == [b"a"]


@pytest.mark.fault(25)
async def test_an_upgrade_takes_the_deadline_of_attachments_along(serve: Serve) -> None:
    server = Server(Options(connect_timeout=0.3))
    site = await serve(server)
    sid = await site.open_polling()
    await site.post(sid, "\x1e".join(["40", BINARY]))
    async with site.wire(f"EIO=4&transport=websocket&sid={sid}") as wire:
        await wire.put("2probe", "5")
        async with asyncio.timeout(2):
            assert await wire.closed() == NO_CLOSE


@pytest.mark.fault(25)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_attachments_of_a_packet_are_bounded_together(serve: Serve, transport: str) -> None:
    """Sixteen of 64 KiB each were a megabyte a session."""
    server = Server(Options(max_payload=10_000))
    site = await serve(server)
    if transport == "websocket":
        async with site.wire() as wire:
            await wire.connect()
            await wire.put(BINARY, b"x" * 6_000, b"x" * 6_000)
            assert await wire.closed() == 1008
    else:
        sid = await site.open_polling()
        await site.post(sid, "\x1e".join(["40", BINARY]))
        await site.post(sid, "b" + "AAAA" * 2_000)
        await site.post(sid, "b" + "AAAA" * 2_000)
        assert (await site.poll(sid))[0] == 400
    assert server.book.counters.rejected["payload_too_big"] == 1


@pytest.mark.fault(25)
async def test_packed_events_wait_by_their_size(serve: Serve) -> None:
    server = Server(Options())
    slow = Slow(server)
    site = await serve(server)
    packet = {"type": 2, "nsp": "/", "data": ["slow", "x" * 30_000]}
    async with site.wire(path="/socket.io-msgpack/") as wire:
        await wire.put(msgpack.packb({"type": 0, "nsp": "/"}))
        assert isinstance(await wire.get(), bytes)
        await wire.put(*[msgpack.packb(packet)] * 20)
        await slow.full()
        assert slow.waiting() <= 4
        slow.going.set()
        async with asyncio.timeout(5):
            while len(slow.seen) < 20:
                await asyncio.sleep(0.01)
