"""Readers that fall behind: order, lanes and bounds of what waits for them."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections import defaultdict
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.engine import Event, Options, Server
from hub.engine.rooms import outlet
from hub.engine.session.backlog import Backlog
from hub.engine.session.connection import Connection
from hub.engine.wire.frames import TEXT, frame
from hub.engine.wire.packets import EVENT
from tests.conftest import examples

from .conftest import Serve
from .wire import Site, events, masked


class Stalled:
    """A WebSocket over a small receive buffer that reads only when told."""

    def __init__(self, port: int, buffer: int = 4096) -> None:
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.data = b""
        self._sock.connect(("127.0.0.1", port))
        self._sock.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + masked(b"40")
        )

    def drain(self) -> None:
        """Read what is there."""
        self._sock.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.data += self._sock.recv(65536)

    async def read_at_random(self, chance: random.Random, until: bytes) -> None:
        """A little now and then."""
        self._sock.setblocking(False)
        while until not in self.data[-50_000:]:
            for _ in range(chance.randrange(50)):
                await asyncio.sleep(0)
            with suppress(BlockingIOError):
                self.data += self._sock.recv(chance.randrange(1, 40_000))

    def read(self, until: bytes) -> bytes:
        """Everything up to what ends with ``until``, or to the end of the stream."""
        self._sock.settimeout(5)
        while until not in self.data:
            try:
                chunk = self._sock.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            self.data += chunk
        return self.data

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
async def narrow(serve: Serve) -> tuple[Server, Site]:
    server = Server(Options(backlog_low=20_000, backlog_high=120_000, send_buffer=4096))
    return server, await serve(server)


async def _flushed() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _joined(server: Server, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(server.manager.namespaces["/"].everyone) != count:
            await asyncio.sleep(0.002)


PAD = "x" * 1000


async def _stall(server: Server, start: int = 1) -> int:
    """Stamped events until the connection is over its low mark; the next number."""
    number = start
    async with asyncio.timeout(10):
        while server.book.waiting_bytes() <= server.book.options.backlog_low:
            for _ in range(20):
                server.deliver(Event(["n", number, PAD], offset=f"{number:06}"))
                number += 1
            await asyncio.sleep(0.002)
    return number


async def test_a_slow_consumer_is_closed_and_counted(narrow: tuple[Server, Site]) -> None:
    server, site = narrow
    left: asyncio.Queue[str] = asyncio.Queue()
    server.on("disconnect", lambda sid, reason: left.put_nowait(reason))
    stalled = await asyncio.to_thread(Stalled, site.port)
    await _joined(server)
    number = await _stall(server)
    for more in range(200):
        server.deliver(Event(["n", number + more, PAD], offset=f"{number + more:06}"))
    assert await asyncio.wait_for(left.get(), 5) == "slow consumer"
    assert server.book.counters.closed == {"slow consumer": 1}
    assert server.book.waiting_bytes() == 0
    assert not server.eio.sockets
    stalled.close()


async def test_under_the_low_mark_nothing_is_dropped_and_nothing_overtakes(
    narrow: tuple[Server, Site],
) -> None:
    server, site = narrow
    stalled = await asyncio.to_thread(Stalled, site.port)
    await _joined(server)
    number = 0
    while not server.book.behind:
        number += 1
        server.deliver(Event(["n", number, PAD], offset=f"{number:06}"))
    server.deliver(Event(["typing", {}], kind="volatile"))
    server.deliver(Event(["urgent", {}], kind="alert", offset=f"{number + 1:06}"))
    server.deliver(Event(["n", number + 2, PAD], offset=f"{number + 2:06}"))
    assert server.book.waiting_bytes() <= server.book.options.backlog_low
    data = await asyncio.to_thread(stalled.read, b'"%06d"' % (number + 2))
    assert events(data)[number:-1] == [["typing", {}], ["urgent", {}, f"{number + 1:06}"]]
    assert server.book.counters.dropped["volatile"] == 0
    stalled.close()


@pytest.mark.parametrize("way", ["to one", "to all", "to many"])
async def test_a_reader_that_falls_behind_in_the_middle_of_a_broadcast_gets_it_in_order(
    narrow: tuple[Server, Site], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held for it fills its socket, or a ping does between two slices of its room; then
    it reads a little before it is its turn."""
    server, site = narrow
    stalled = [await asyncio.to_thread(Stalled, site.port, 16_384) for _ in range(2)]
    await _joined(server, 2)
    last = list(server.members())[1]
    long = b'42["n",0,"%s"]' % (b"x" * 100_000)
    monkeypatch.setattr(outlet, "SLICE", 1 if way == "to many" else 1000)
    if way == "to many":
        server.deliver(Event(["n", 1]))
        server.deliver(Event(["n", 1]), ["nobody"])
        [slow] = server.manager.namespaces["/"].outlet._batches[0].rest
        assert isinstance(slow.link, Connection)
        slow.link.write(frame(TEXT, long))
    else:
        slow = last
        slow.link.send_text(long)
    peer = stalled[slow is last]

    def write(fd: int, wire: bytes) -> int:
        peer.drain()
        return os.write(fd, wire)

    monkeypatch.setattr(outlet, "write", write)
    if way == "to one":
        server.deliver(Event(["n", 1]), [slow.sid])
    elif way == "to all":
        server.deliver(Event(["n", 1]))
        server.deliver(Event(["n", 1]), ["nobody"])
    await _flushed()
    server.deliver(Event(["n", 2]))
    await _flushed()
    data = await asyncio.to_thread(peer.read, b'["n",2]')
    assert [args[1] for args in events(data)] == [0, 1, 2]
    for one in stalled:
        one.close()


async def test_lanes_of_a_slow_reader(narrow: tuple[Server, Site]) -> None:
    """Over the low mark volatile events are dropped but the newest of a key, an alert overtakes
    without a stamp, room events keep their order; the stamps a client sees only grow."""
    server, site = narrow
    stalled = await asyncio.to_thread(Stalled, site.port)
    await _joined(server)
    number = await _stall(server)
    for count in range(5):
        server.deliver(Event(["online", {"count": count}], kind="volatile", key="r"))
        server.deliver(Event(["typing", {}], kind="volatile"))
    for more in range(10):
        server.deliver(Event(["n", number + more, PAD], offset=f"{number + more:06}"))
    server.deliver(Event(["urgent", {"id": "u"}], kind="alert", offset=f"{number + 10:06}"))
    server.deliver(Event(["n", number + 11, PAD], offset=f"{number + 11:06}"))
    await _flushed()
    assert server.book.counters.dropped == {"volatile": 9}
    assert server.book.waiting_bytes() > 20_000
    data = await asyncio.to_thread(stalled.read, b'"online"')
    heard = events(data)
    names = [args[0] for args in heard]
    assert [args for args in heard if args[0] == "urgent"] == [["urgent", {"id": "u"}]]
    assert names.index("urgent") < len(names) - 11
    assert [args[1] for args in heard if args[0] == "n"] == [*range(1, number + 10), number + 11]
    stamps = [args[-1] for args in heard if args[0] == "n"]
    assert stamps == sorted(stamps)
    assert heard[-1] == ["online", {"count": 4}]
    assert not server.book.behind  # it has caught up, and is written to directly again
    assert next(server.members()).fast
    stalled.close()


@settings(max_examples=examples(25))
@given(st.lists(st.sampled_from(["room", "alert"]), min_size=5, max_size=60), st.data())
def test_property_at_every_cut_offset_and_replay_and_live_are_everything(
    kinds: Any, data: Any
) -> None:
    """A connection that queues, cut anywhere: what it saw, and what follows the last stamp it
    saw, is all there was."""
    written: list[Event] = []
    backlog: Backlog[Event] = Backlog()
    for number, kind in enumerate(kinds):
        event = Event(["n", number], kind=kind, offset=f"{number:03}")
        paused = data.draw(st.booleans())
        if kind == "alert":
            if paused:
                written.append(Event(event.args))
            else:
                written += _drained(backlog)
                written.append(event)
        else:
            backlog.append(event, 1)
            if not paused:
                written += _drained(backlog)
    cut = data.draw(st.integers(0, len(written)))
    seen = written[:cut]
    stamps = [event.offset for event in seen if event.offset is not None]
    assert stamps == sorted(stamps)
    replayed = range(int(stamps[-1]) + 1 if stamps else 0, len(kinds))
    assert {event.args[1] for event in seen} | set(replayed) == set(range(len(kinds)))


def _drained(backlog: Any) -> list[Event]:
    events = []
    while (event := backlog.pop()) is not None:
        events.append(event)
    return events


async def test_a_polling_client_is_bounded_too(serve: Serve) -> None:
    server = Server(Options(backlog_low=10_000, backlog_high=30_000))
    site = await serve(server)
    session = await site.open_polling()
    await site.post(session, "40")
    await site.poll(session)
    for number in range(12):
        server.deliver(Event(["n", number, PAD]))
        server.deliver(Event(["online", number], kind="volatile", key="r"))
    await asyncio.sleep(0)
    body = (await site.poll(session))[1].split("\x1e")
    assert [orjson.loads(packet[2:])[1] for packet in body if "online" in packet][-1] == 11
    assert sum('"n"' in packet for packet in body) == 12
    assert server.book.counters.dropped["volatile"] > 0
    for number in range(100):
        server.deliver(Event(["n", number, PAD]))
    await asyncio.sleep(0)
    assert server.book.counters.closed == {"slow consumer": 1}
    assert (await site.poll(session))[0] == 400


@pytest.mark.parametrize("seed", range(3))
async def test_readers_of_every_speed_get_everything_in_order(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Broadcasts, replies and single events of all sizes, to sockets that fill at any moment."""
    chance = random.Random(seed)
    monkeypatch.setattr(outlet, "SLICE", 7)
    server = Server(
        Options(backlog_low=30_000, backlog_high=100_000_000, send_buffer=4096, ping_interval=0.3)
    )
    site = await serve(server)
    peers = [await asyncio.to_thread(Stalled, site.port, 8192) for _ in range(20)]
    await _joined(server, 20)
    members = list(server.members())
    for index, member in enumerate(members):
        server.enter(member, f"r{index % 3}")
    wanted: dict[int, list[int]] = defaultdict(list)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for peer in peers:
            group.create_task(peer.read_at_random(chance, b'["end",0]'))
        for number in range(1_500):
            pad = "x" * chance.choice((0, 10, 1_000, 12_000))
            event = Event(["n", number, pad])
            index = chance.randrange(20)
            match chance.randrange(4):
                case 0:
                    server.deliver(event)
                    hearing = range(20)
                case 1:
                    server.deliver(event, [f"r{index % 3}"])
                    hearing = range(index % 3, 20, 3)
                case 2:
                    server.deliver(event, [members[index].sid])
                    hearing = range(index, index + 1)
                case _:
                    members[index].send(EVENT, None, ["n", number, pad])
                    hearing = range(index, index + 1)
            for one in hearing:
                wanted[one].append(number)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        server.deliver(Event(["end", 0]))
    for index, peer in enumerate(peers):
        assert [args[1] for args in events(peer.data)] == [*wanted[index], 0]
        peer.close()
