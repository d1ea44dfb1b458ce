"""The emitter as a service uses it: one call, one event, whatever the nodes' settings are."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.exceptions import RedisError

from hub.cluster.emitter import Emitter, LogLimits, free_emit
from hub.cluster.line import Line
from hub.embedded.supervisor import free_port
from protocol.names import Channels, Keys
from protocol.redis_wire import WireError
from tests.hub.cluster.nodes import Node, ids
from tests.hub.cluster.valkey import Valkey

Names = tuple[Keys, Channels]


async def test_it_reaches_whoever_is_in_the_room_on_every_node(
    valkey: Valkey, names: Names
) -> None:
    nodes = [await Node(valkey.url, names).start() for _ in range(2)]
    sockets = [await node.join(f"s{n}", "stream:x") for n, node in enumerate(nodes)]
    other = await nodes[0].join("other", "stream:y")
    keys, channels = names
    async with Emitter.connect(valkey.url, prefix=keys.prefix, adapter_key=channels.key) as hub:
        offset = await hub.emit("live:product:soldout", {"id": "p1"}, room="stream:x")
        assert await hub.emit("live:product:soldout", {"id": "p1"}, room="stream:x") == ""
    for node in nodes:
        await node.heard_all()
        await node.stop()
    assert ids([*sockets, other]) == [["p1"], ["p1"], []]
    assert len(offset) == 26


async def test_the_connection_is_opened_when_it_is_used_and_closed_in_the_end(
    valkey: Valkey, line: Line, names: Names
) -> None:
    async with Emitter.connect(f"redis://127.0.0.1:{free_port()}") as hub:
        with pytest.raises(RedisError):
            await hub.emit("news", {}, room="r")
    async with Emitter.connect(valkey.url, adapter_key=names[1].key) as hub:
        await hub.emit("news", {}, room="r")
        assert b"dongne-emitter" in await line.call("CLIENT", "LIST")
    async with asyncio.timeout(10):
        while b"dongne-emitter" in await line.call("CLIENT", "LIST"):
            await asyncio.sleep(0.01)
    with pytest.raises(RedisError):
        await hub.emit("news", {}, room="r")


@pytest.mark.parametrize(
    ("event", "room", "klass", "namespace"),
    [
        ("answer:created", "question:1", "alert", "/"),
        ("room:broadcast", "region:jeju", "room", "/"),
        ("inbox:unread", "user:u", "volatile", "/"),
        ("ferry:cancelled", "region:jeju", "room", "/"),
        ("ferry:cancelled", "chat:1", "room", "/chat"),
    ],
)
def test_the_class_and_the_namespace_of_an_event(
    event: str, room: str, klass: str, namespace: str
) -> None:
    told = free_emit(event, {}, (room,))
    assert (told.klass, told.namespace) == (klass, namespace)
    assert free_emit(event, {}, (room,), volatile=True).klass == "volatile"
    assert free_emit(event, {}, (room,), namespace="/x").namespace == "/x"


def test_every_event_carries_its_id() -> None:
    first, second = free_emit("x", {}, ("r",)), free_emit("x", {}, ("r",))
    assert first.data["id"] == first.id
    assert first.id != second.id
    assert free_emit("x", {"id": "mine"}, ("r",)).id == "mine"
    assert free_emit("x", {"a": 1}, ("r",), id="mine").data == {"id": "mine", "a": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rooms": ()},
        {"rooms": ("",)},
        {"rooms": ("가" * 43,)},
        {"except_rooms": ("a\x00",)},
        {"event": "ready"},
        {"event": "connect"},
        {"event": ""},
        {"namespace": "x"},
        {"namespace": "/a#b"},
        {"id": "x" * 129},
        {"data": {"id": 5}},
        {"data": {"id": "a"}, "id": "b"},
    ],
)
def test_what_no_client_could_be_told_is_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"event": "news", "data": {}, "rooms": ("r",)}
    with pytest.raises(ValueError, match=r".+"):
        free_emit(**(right | wrong))


async def test_data_goes_as_a_client_can_read_it(valkey: Valkey, names: Names) -> None:
    node = await Node(valkey.url, names).start()
    socket = await node.join("s", "r")
    keys, channels = names
    limits = LogLimits(30, 100)
    async with Emitter.connect(
        valkey.url, prefix=keys.prefix, adapter_key=channels.key, limits=limits
    ) as hub:
        moment = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
        await hub.emit("news", {"id": "1", "at": moment, "raw": b"\x00\xff"}, room="r")
        with pytest.raises(WireError):
            await hub.emit("news", {"it": object()}, room="r")
    await node.heard_all()
    await node.stop()
    [broadcast] = socket.received
    assert broadcast.args == [{"id": "1", "at": "2026-11-21T03:04:05.000Z", "raw": b"\x00\xff"}]
