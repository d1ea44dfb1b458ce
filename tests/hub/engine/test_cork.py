"""Frames of one loop round: one write a connection, in the order in which they were given."""

from __future__ import annotations

import asyncio
import os

import pytest

from hub.engine import Event, Server
from hub.engine.session.connection import Connection
from hub.engine.session.cork import AT_ONCE
from hub.engine.wire.packets import EVENT

from .conftest import Serve
from .wire import Site, Wire, masked


def _send_together(wire: Wire, *messages: str) -> None:
    """In one segment, so that the server reads them in one round."""
    frames = b"".join(masked(message.encode()) for message in messages)
    wire.ws._writer.transport.write(frames)


class Peer:
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def write(self, wire: bytes) -> None:
        self.heard.append(wire)


async def test_acknowledgements_of_one_read_are_one_write(
    sio: Server, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    sio.on("echo", lambda sid, data: data)
    site = await serve()
    async with site.wire() as wire:
        await wire.connect()
        [connection] = sio.eio.sockets.values()
        writes: list[bytes] = []

        def counted(fd: int, data: bytes) -> int:
            if fd == connection.fd:
                writes.append(data)
            return write(fd, data)

        write = os.write
        monkeypatch.setattr(os, "write", counted)
        _send_together(wire, *(f'42{number}["echo",{number}]' for number in range(5)))
        assert [await wire.text() for _ in range(5)] == [f"43{n}[{n}]" for n in range(5)]
    assert len(writes) == 1


async def test_order_of_replies_events_and_broadcasts(sio: Server, serve: Serve) -> None:
    """What a handler gives is seen in this order, whichever way each of it is written."""

    def work(sid: str, data: int) -> int:
        member = sio.member(sid)
        assert member is not None
        member.send(EVENT, None, ["part", data])
        sio.deliver(Event(["room", data]), ["r"])
        sio.deliver(Event(["person", data]), [sid])
        sio.deliver(Event(["all", data]))
        return data

    sio.on("work", work)
    sio.on("join", lambda sid: sio.manager.basic_enter_room(sid, "/", "r"))
    site = await serve()
    async with site.wire() as wire:
        await wire.connect()
        await wire.put('420["join"]')
        assert await wire.text() == "430[]"
        _send_together(wire, *(f'42{number}["work",{number}]' for number in range(20)))
        wanted = [
            text
            for n in range(20)
            for text in (
                f'42["part",{n}]', f'42["room",{n}]', f'42["person",{n}]', f'42["all",{n}]',
                f"43{n}[{n}]",
            )
        ]  # fmt: skip
        assert [await wire.text() for _ in wanted] == wanted


async def test_what_is_held_goes_out_before_the_close(sio: Server, serve: Serve) -> None:
    def leave(sid: str) -> None:
        member = sio.member(sid)
        assert member is not None
        member.link.end("server disconnect")

    sio.on("echo", lambda sid, data: data)
    sio.on("leave", leave)
    site = await serve()
    async with site.wire() as wire:
        await wire.connect()
        _send_together(wire, '421["echo",1]', '422["echo",2]', '42["leave"]')
        assert [await wire.text(), await wire.text()] == ["431[1]", "432[2]"]
        assert await wire.closed() == 1000


async def test_many_connections_do_not_wait_for_the_end_of_the_round(sio: Server) -> None:
    peers = [Peer() for _ in range(AT_ONCE + 1)]
    for peer in peers:
        sio.book.cork.hold(peer, b"a")
    assert [peer.heard for peer in peers] == [[b"a"]] * AT_ONCE + [[]]
    sio.book.cork.hold(peers[-1], b"b")
    await asyncio.sleep(0)
    assert peers[-1].heard == [b"ab"]
    assert sio.book.cork.take(peers[-1]) == b""


async def test_many_frames_of_one_connection_are_written_before_the_end(sio: Server) -> None:
    peer = Peer()
    for _ in range(AT_ONCE + 1):
        sio.book.cork.hold(peer, b"a")
    assert peer.heard == [b"a" * AT_ONCE]
    await asyncio.sleep(0)
    assert peer.heard == [b"a" * AT_ONCE, b"a"]


async def test_a_connection_that_is_gone_takes_nothing_with_it(sio: Server, site: Site) -> None:
    """One that is aborted in the round in which it is written to does not disturb the others."""
    async with site.wire() as first, site.wire() as second:
        await first.connect()
        await second.connect()
        gone, stays = sio.eio.sockets.values()
        assert isinstance(gone, Connection)
        gone.send_text(b'42["late"]')
        stays.send_text(b'42["here"]')
        gone.transport.abort()
        assert await second.text() == '42["here"]'
        assert await first.text() == '42["late"]'
        assert await first.get() is None


async def test_what_is_held_goes_out_before_what_waits_for_a_full_socket(
    sio: Server, site: Site
) -> None:
    """Its transport may call both in the middle of a round."""
    async with site.wire() as wire:
        await wire.connect()
        [connection] = sio.eio.sockets.values()
        assert isinstance(connection, Connection)
        connection.send_text(b'42["held"]')
        connection.pause_writing()
        connection.send_text(b'42["waits"]')
        connection.resume_writing()
        assert [await wire.text(), await wire.text()] == ['42["held"]', '42["waits"]']
