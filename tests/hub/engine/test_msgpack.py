"""The official msgpack parser at its own path, with the same rooms."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from hub.engine import Event, Server
from hub.engine.wire.packets import decode_msgpack

from .wire import Site, Wire, event

PATH = "/socket.io-msgpack/"
UNDEFINED = b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xd4\x00\x00"  # what notepack makes of it


async def _get(wire: Wire) -> Any:
    message = await wire.get()
    assert isinstance(message, bytes), message
    return msgpack.unpackb(message)


async def test_connect_event_ack_and_kick(sio: Server, site: Site) -> None:
    auths: list[Any] = []
    sio.on("connect", lambda sid, environ, auth: auths.append(auth))
    sio.on("echo", lambda sid, *args: args)
    async with site.wire(path=PATH) as wire, site.wire() as plain:
        await wire.put(UNDEFINED)
        reply = await _get(wire)
        assert (reply["type"], reply["nsp"], list(reply["data"])) == (0, "/", ["sid"])
        assert auths == [None]
        sid, other = reply["data"]["sid"], (await plain.connect())["sid"]
        packet = {"type": 2, "nsp": "/", "id": 4, "data": ["echo", b"\x01", {"a": None}]}
        await wire.put(msgpack.packb(packet))
        assert await _get(wire) == {"type": 3, "nsp": "/", "id": 4, "data": [b"\x01", {"a": None}]}
        for member in (sid, other):
            await sio.enter_room(member, "r")
        sio.deliver(Event(["n", {"x": b"\x02"}], offset="0001"), ["r"])
        assert await _get(wire) == {"type": 2, "nsp": "/", "data": ["n", {"x": b"\x02"}, "0001"]}
        assert (await plain.text()).startswith('451-["n",')
        assert await plain.get() == b"\x02"
        await sio.disconnect(sid)
        assert await _get(wire) == {"type": 1, "nsp": "/"}  # no data, or the client throws
        assert await wire.closed() == 1000


async def test_polling(sio: Server, site: Site) -> None:
    sid = await site.open_polling(PATH)
    from base64 import b64decode, b64encode

    await site.post(sid, "b" + b64encode(UNDEFINED).decode(), PATH)
    status, body = await site.poll(sid, PATH)
    assert status == 200
    assert msgpack.unpackb(b64decode(body[1:]))["type"] == 0


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\xc1", b"\x93\x01\x02\x03", msgpack.packb({"type": 0}), "42[]",
        msgpack.packb({"type": 9, "nsp": "/"}), msgpack.packb({"type": 2, "nsp": "/", "data": 1}),
        msgpack.packb({"type": 5, "nsp": "/", "data": ["e"]}),
        msgpack.packb({"type": 2, "nsp": 1, "data": ["e"]}),
        b"\x91" * 5000 + b"\x01",
    ],
)  # fmt: skip
async def test_what_is_no_packet_closes(sio: Server, site: Site, message: str | bytes) -> None:
    async with site.wire(path=PATH) as wire:
        await wire.put(UNDEFINED)
        await _get(wire)
        await wire.put(message)
        assert await wire.closed() == 1008


def test_dates_of_the_old_parser_are_milliseconds() -> None:
    packet = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\xd7\x00" + (1700).to_bytes(8, "big")
    assert decode_msgpack(packet).data == ["e", 1700]


async def test_both_parsers_keep_order(sio: Server, site: Site) -> None:
    async with site.wire(path=PATH) as packed, site.wire() as plain:
        await packed.put(UNDEFINED)
        sid = (await _get(packed))["data"]["sid"]
        await plain.connect()
        await sio.emit("a")
        await sio.emit("b", to=sid)
        await sio.emit("c")
        await asyncio.sleep(0)
        assert [(await _get(packed))["data"] for _ in range(3)] == [["a"], ["b"], ["c"]]
        assert [event(await plain.text()) for _ in range(2)] == [["a"], ["c"]]
