"""What one peer sends and nobody has handled yet is bounded, on whichever road it comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from hub.engine import Member, Options, Server
from hub.engine.session.connection import Connection
from hub.engine.session.incoming import CLOSING, PART

from .conftest import Serve
from .test_ends import HEAD
from .wire import Site, masked

MARK = Options().max_waiting_events
FRAME = masked(b'42["slow",1]')
AT_ONCE = PART // len(FRAME) + 1
"""Frames that a reader takes at once."""


PING = b"\x89\x80\0\0\0\0"


class Slow:
    """A server whose events wait until ``going`` is set; what they were, and the most that
    waited for one session."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.going = asyncio.Event()
        self.seen: list[Any] = []
        server.on("slow", self._slow)
        server.on("slow", self._slow, namespace="/custom")

    async def _slow(self, sid: str, *args: Any) -> None:
        await self.going.wait()
        self.seen.append(args[0] if args else None)

    def waiting(self) -> int:
        members = self.server.manager.namespaces.values()
        everyone: list[Member] = [one for space in members for one in space.members.values()]
        return sum(len(member.jobs or ()) for member in everyone)

    async def full(self) -> None:
        """Until a session is read no more."""
        async with asyncio.timeout(5):
            while not any(link.reading_paused for link in self.server.eio.sockets.values()):
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)  # to show that no more comes in, there is nothing to await


@pytest.fixture
def slow(sio: Server) -> Slow:
    return Slow(sio)


class Flood:
    """A raw WebSocket that sends without reading."""

    def __init__(self, port: int, *first: bytes) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.sendall(HEAD + b"".join(map(masked, first)))

    async def send(self, data: bytes) -> asyncio.Task[None]:
        """All of it, as far as the server takes it."""
        self._sock.setblocking(False)
        loop = asyncio.get_running_loop()
        return asyncio.create_task(loop.sock_sendall(self._sock, data))

    def close(self) -> None:
        self._sock.close()


@pytest.mark.fault(25)
@pytest.mark.parametrize("first", [b"", PING])
@pytest.mark.parametrize("namespaces", [1, 2])
async def test_a_flood_over_a_websocket_waits_unread(
    site: Site, slow: Slow, namespaces: int, first: bytes,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    """Events of one TCP segment, too; a PING before them gives all of them to a reader. A member
    of another namespace, with nothing to do, does not open the way for them."""
    flood = Flood(site.port, b"40", *([b"40/custom,"] if namespaces == 2 else []))
    frames = FRAME * 50_000
    if namespaces == 2:
        frames = (masked(b'42/custom,["slow",1]') + FRAME * 20) * 2_500
    sending = await flood.send(first + frames)
    await slow.full()
    waiting = slow.waiting()
    record_property("seen", f"{waiting} events wait of a flood")
    assert MARK - 1 <= waiting <= MARK + AT_ONCE
    (link,) = slow.server.eio.sockets.values()
    assert isinstance(link, Connection)
    assert len(link.buffer) <= 300_000
    slow.going.set()
    async with asyncio.timeout(30):
        await sending
        while len(slow.seen) < 50_000:
            await asyncio.sleep(0.01)
    flood.close()


@pytest.mark.fault(25)
async def test_a_post_is_answered_when_its_events_are_under_the_mark(
    site: Site, slow: Slow, record_property: Callable[[str, object], None]
) -> None:
    sid = await site.open_polling()
    await site.post(sid, "40")
    body = "\x1e".join(f'42["slow",{number}]' for number in range(3_000))
    posting = asyncio.create_task(site.post(sid, body))
    await slow.full()
    record_property("seen", f"{slow.waiting()} of 3000 events of a POST wait")
    assert slow.waiting() <= MARK
    assert not posting.done()
    slow.going.set()
    assert await posting == (200, "ok")
    async with asyncio.timeout(5):
        while len(slow.seen) < 3_000:
            await asyncio.sleep(0.01)
    assert slow.seen == list(range(3_000))


@pytest.mark.fault(25)
async def test_a_second_post_beside_the_first_ends_the_session(site: Site, slow: Slow) -> None:
    """As the official server does it: their order would be anybody's guess."""
    sid = await site.open_polling()
    await site.post(sid, "40")
    body = "\x1e".join(['42["slow",1]'] * 200)
    first = asyncio.create_task(site.post(sid, body))
    await slow.full()
    assert (await site.post(sid, body))[0] == 400
    await first
    assert (await site.poll(sid))[0] == 400
    slow.going.set()


@pytest.mark.fault(25)
async def test_a_poster_that_goes_away_leaves_nothing(site: Site, slow: Slow) -> None:
    sid = await site.open_polling()
    await site.post(sid, "40")
    first = asyncio.create_task(site.post(sid, "\x1e".join(['42["slow",1]'] * 200)))
    await slow.full()
    first.cancel()
    async with asyncio.timeout(5):
        while not slow.server.eio.sockets[sid].over:
            await asyncio.sleep(0.005)
    assert slow.waiting() <= 1  # its disconnect handler
    slow.going.set()


@pytest.mark.fault(8, 25)
async def test_a_body_that_never_comes_has_a_deadline(serve: Serve) -> None:
    server = Server(Options(connect_timeout=0.2))
    site = await serve(server)
    sid = await site.open_polling()
    head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: h\r\n"
    async with asyncio.timeout(2):
        answer = await site.raw((head + "Content-Length: 100\r\n\r\n40").encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (await site.poll(sid))[0] == 400


@pytest.mark.fault(25)
async def test_large_events_count_for_more(site: Site, slow: Slow) -> None:
    """Sixty-four of 60 KB were four megabytes, and many times that as objects."""
    async with site.wire() as wire:
        await wire.connect()
        text = orjson.dumps(["slow", "x" * 30_000]).decode()
        await wire.put(*["42" + text] * 20)
        await slow.full()
        assert slow.waiting() <= 4
        slow.going.set()
        async with asyncio.timeout(5):
            while len(slow.seen) < 20:
                await asyncio.sleep(0.01)


@pytest.mark.fault(25)
@pytest.mark.parametrize("way", ["41", "kick", "cut"])
async def test_what_waits_for_a_member_that_leaves_is_dropped(
    site: Site, slow: Slow, way: str
) -> None:
    left = asyncio.Event()
    slow.server.on("disconnect", lambda sid, reason: left.set())
    async with site.wire() as wire:
        await wire.connect("/custom")
        await wire.connect()
        await wire.put(*[f'42["slow",{number}]' for number in range(40)])
        member = next(slow.server.members())
        while slow.waiting() < 39:
            await asyncio.sleep(0.001)
        if way == "41":
            await wire.put("41")
        else:
            getattr(slow.server, way)(member)
        async with asyncio.timeout(5):
            while slow.waiting() > 1:
                await asyncio.sleep(0.001)
        assert member.link.queued == 0
        slow.going.set()
        await asyncio.wait_for(left.wait(), 5)
    assert slow.seen == [0], "the one under way"


@pytest.mark.fault(25)
async def test_a_leaving_member_s_events_free_the_way_for_others(site: Site, slow: Slow) -> None:
    """What was not read behind them is read once they are dropped."""
    async with site.wire() as wire:
        await wire.connect("/custom")
        await wire.connect()
        await wire.put(*['42["slow",1]'] * 200, '42/custom,7["fast"]')
        slow.server.on("fast", lambda sid: "here", namespace="/custom")
        await slow.full()
        slow.server._admission.leave(next(slow.server.members()), "server disconnect")
        assert await wire.text() == '43/custom,7["here"]'
        slow.going.set()


# --- control frames ----------------------------------------------------------------------------


def _ping(payload: bytes) -> bytes:
    return bytes((0x89, 0x80 | len(payload), 0, 0, 0, 0)) + payload


@pytest.mark.fault(25)
@pytest.mark.parametrize("probing", [True, False])
async def test_pongs_nobody_reads_are_bounded(
    serve: Serve, probing: bool, record_property: Callable[[str, object], None]
) -> None:
    options = Options(backlog_low=20_000, backlog_high=60_000, send_buffer=4096)
    server = Server(options)
    site = await serve(server)
    head = HEAD
    if probing:
        sid = await site.open_polling()
        head = HEAD.replace(b"websocket HTTP", f"websocket&sid={sid} HTTP".encode())
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", site.port))
    sock.sendall(head)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    most, flood = 0, _ping(b"x" * 125) * 200
    listener = server._listener
    assert listener is not None
    try:
        async with asyncio.timeout(10):
            for _ in range(400):
                await loop.sock_sendall(sock, flood)
                open_ones = [one for one in listener.transports.open if isinstance(one, Connection)]
                waits = [one.waiting for one in open_ones if one.phase < CLOSING]
                most = max([most, *waits])
                if not listener.transports.open:
                    break
    except OSError:
        pass
    record_property("seen", f"{most} bytes of pongs waited at most")
    assert not listener.transports.open
    assert most <= 60_000 + 127 * (PART // 131 + 1)
    sock.close()


# --- turns ---------------------------------------------------------------------------------------

FLOODS = {
    "pongs": masked(b"3"),
    "answers": masked(b"430[]"),
    "events nobody hears": masked(b'42/custom,["x"]'),
    "pings of WebSocket": PING,
    "empty fragments": b"\x01\x80\0\0\0\0" + b"\x80\x81\0\0\0\x003",
}


@pytest.mark.fault(25)
@pytest.mark.parametrize("kind", FLOODS)
async def test_others_have_their_turn_during_a_flood(
    site: Site, sio: Server, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """What costs a microsecond costs a tenth of a second by the segment."""
    sio.on("echo", lambda sid, *args: args)
    count = 20_000
    async with site.wire() as other:
        await other.connect()
        flood = Flood(site.port, b"40")
        await asyncio.sleep(0.02)
        before = sio.book.counters.frames_in
        sending = await flood.send(FLOODS[kind] * count)
        while sio.book.counters.frames_in == before:
            await asyncio.sleep(0)
        await other.put('421["echo",1]')
        assert await other.text() == "431[1]"
        read = sio.book.counters.frames_in - before
        record_property("seen", f"{kind}: answered after {read} of {count} frames")
        assert read < count
        async with asyncio.timeout(20):
            await sending
        flood.close()


@pytest.mark.fault(25)
async def test_others_have_their_turn_during_a_post(site: Site, sio: Server) -> None:
    sio.on("echo", lambda sid, *args: args)
    sid = await site.open_polling()
    await site.post(sid, "40")
    async with site.wire() as other:
        await other.connect()
        before = sio.book.counters.frames_in
        posting = asyncio.create_task(site.post(sid, "\x1e".join(["3"] * 30_000)))
        while sio.book.counters.frames_in == before:
            await asyncio.sleep(0)
        await other.put('421["echo",1]')
        assert await other.text() == "431[1]"
        assert sio.book.counters.frames_in - before < 30_000
        assert await posting == (200, "ok")
