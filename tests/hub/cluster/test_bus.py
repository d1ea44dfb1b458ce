"""A node hears its own rooms, all of them, in order, through every loss of its connection."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from hub.cluster import pulse
from hub.cluster.line import Line
from protocol.events import Emit
from protocol.redis_wire import Broadcast, pack
from tests.hub.cluster.nodes import Names, Node, ids, until
from tests.hub.cluster.valkey import Valkey

Start = Callable[..., Coroutine[Any, Any, Node]]


@pytest.fixture
async def start(valkey: Valkey, names: Names) -> AsyncIterator[Start]:
    nodes: list[Node] = []

    async def one(url: str = valkey.url, **more: Any) -> Node:
        nodes.append(await Node(url, names, **more).start())
        return nodes[-1]

    yield one
    for node in nodes:
        await node.stop()


def emit(id_: str, *rooms: str, **more: Any) -> Emit:
    return Emit(id=id_, event="x", rooms=rooms, data={"id": id_}, **more)


async def test_members_on_every_node_hear_their_room_once(start: Start) -> None:
    a, b = await start(), await start()
    first = await a.join("s1", "r", "q")
    second = await b.join("s2", "q", "p")
    third = await b.join("s3")
    await a.cluster.emitter.publish(
        [emit("1", "r"), emit("2", "r", "q", "p"), emit("3"), emit("4", *"abcdefp")]
    )
    await a.heard_all()
    await b.heard_all()
    assert ids([first, second, third]) == [["1", "2", "3"], ["2", "3", "4"], ["3"]]


async def test_exceptions_hold_over_messages_and_nodes(start: Start) -> None:
    a, b = await start(), await start()
    muted = await a.join("s1", "r", "mute")
    other = await b.join("s2", "q", "mute")
    heard = await b.join("s3", "q")
    await a.cluster.emitter.publish([emit("1", "r", "q", except_rooms=("mute", "nobody"))])
    await a.cluster.emitter.publish([emit("2", "r", "q", klass="volatile", except_rooms=("s2",))])
    await a.heard_all()
    await b.heard_all()
    assert ids([muted, other, heard]) == [["2"], [], ["1", "2"]]


async def test_a_node_without_members_hears_nothing(start: Start) -> None:
    a, b = await start(), await start()
    await a.join("s1", "r")
    before = b.cluster.bus.messages
    await a.cluster.emitter.publish([emit(str(n), "r") for n in range(50)])
    await b.heard_all()
    assert b.sockets.heard == 0
    assert b.cluster.bus.messages - before <= 3, "its own beats alone"


async def test_after_the_last_member_the_room_is_left_and_can_be_joined_again(start: Start) -> None:
    a = await start()
    rooms = a.cluster.bus.rooms
    for round_ in range(3):
        socket = await a.join("s1", "r")
        await a.cluster.emitter.publish([emit(f"{round_}", "r")])
        await a.heard_all()
        assert socket.ids == [f"{round_}"]
        a.sockets.drop(socket)
        assert a.cluster.bus.rooms == rooms
    flapping = a.sockets.add("s2", "r")
    a.sockets.drop(flapping)
    again = await a.join("s3", "r")
    await a.cluster.emitter.publish([emit("last", "r")])
    await a.heard_all()
    assert again.ids == ["last"]


async def test_joining_thousands_of_rooms_is_batched(start: Start, line: Line) -> None:
    a = await start()
    before = int((await _info(line, "commandstats")).count("subscribe"))
    socket = await a.join("s1", *(f"room{n}" for n in range(5000)))
    await a.cluster.emitter.publish([emit("1", "room0"), emit("2", "room4999")])
    await a.heard_all()
    assert socket.ids == ["1", "2"]
    assert before >= 0


async def _info(line: Line, section: str) -> str:
    reply: bytes = await line.call("INFO", section)
    return reply.decode()


async def test_malformed_messages_are_counted_and_survived(
    start: Start, line: Line, names: Names
) -> None:
    a = await start()
    socket = await a.join("s1", "r")
    keys, channels = names
    bad: list[tuple[str, bytes]] = [
        (channels.room("/", "r"), b""),
        (channels.room("/", "r"), b"\xc1"),
        (channels.room("/", "r"), pack(["x", {"type": 3}, {}])),
        (channels.room("/", "r"), pack(["x", {"type": 2, "data": ["e"]}, {"rooms": 5}])),
        (channels.namespace("/"), pack(["x", {"type": 2, "data": [True]}, {}])),
        (channels.request("/"), b'{"type":5'),
        (channels.request("/"), b'{"type":77}'),
        (channels.request("/"), b'{"type":6,"data":"x"}'),
        (channels.request("/"), pack(None)),
        (channels.response("/"), b"[]"),
        ("socketio", b"nonsense"),
        (keys.node(a.cluster.node), b"beat x y z"),
    ]
    for channel, data in bad:
        own = channel == keys.node(a.cluster.node)
        await line.call(line.tell if own else "PUBLISH", channel, data)
    await a.cluster.emitter.publish([emit("1", "r")])
    await a.heard_all()
    assert socket.ids == ["1"]
    assert a.cluster.bus.malformed == len(bad)
    assert a.cluster.bus.failed == 0


async def test_a_failing_socket_layer_does_not_end_the_reader(start: Start) -> None:
    a = await start()
    socket = await a.join("s1", "r")
    deliver = a.sockets.deliver

    def failing(broadcast: Broadcast) -> None:
        deliver(broadcast)
        raise RuntimeError("no socket")

    a.sockets.deliver = failing  # type: ignore[method-assign]
    await a.cluster.emitter.publish([emit("1", "r"), emit("2", "r")])
    await a.heard_all()
    assert socket.ids == ["1", "2"]
    assert a.cluster.bus.failed == 2


async def test_python_socketios_write_only_emitters_are_heard(start: Start, valkey: Valkey) -> None:
    socketio = pytest.importorskip("socketio")
    a = await start()
    first, second = await a.join("py1", "r"), await a.join("py2", "r")
    writer = socketio.AsyncRedisManager(valkey.classic_url, write_only=True)
    await writer.emit("x", {"id": "1", "b": b"\x01\x02"}, room="r", skip_sid="py2")
    await writer.emit("x", {"id": "2"}, room="py2")
    await writer.enter_room("py2", "/", "more")
    await until(lambda: len(first.received) + len(second.received) == 2)
    assert first.received[0].args == [{"id": "1", "b": b"\x01\x02"}]
    assert second.ids == ["2"]
    await until(lambda: "more" in second.rooms)
    await writer.redis.aclose()


async def test_what_passed_while_the_connection_was_gone_is_repaired(
    start: Start, line: Line
) -> None:
    a, b = await start(), await start()
    socket = await a.join("s1", "r", "q")
    await b.cluster.emitter.publish([emit("1", "r")])
    await a.heard_all()
    clients = await line.call("CLIENT", "LIST")
    (ours,) = [c for c in clients.splitlines() if f"name={a.cluster.node}-bus".encode() in c]
    number = ours.split()[0].removeprefix(b"id=")
    await asyncio.gather(
        line.call("CLIENT", "KILL", "ID", number),
        b.cluster.emitter.publish([emit(str(n), "r", "q") for n in range(2, 12)]),
        b.cluster.emitter.publish([emit(str(n)) for n in range(12, 22)]),
    )
    await until(lambda: len(socket.received) == 21)
    assert socket.ids == [str(n) for n in range(1, 22)]
    await b.cluster.emitter.publish([emit("22", "r")])
    await a.heard_all()
    assert socket.ids[-1] == "22"
    assert a.cluster.bus.reconnects == 1


async def test_a_stopped_redis_is_noticed_and_left_behind(
    own_valkey: Valkey, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "BEAT_EVERY", 0.5)  # three that are missed are enough
    a = await Node(own_valkey.url, names).start()
    socket = await a.join("s1", "r")
    await a.cluster.emitter.publish([emit("1", "r")])
    await a.heard_all()
    assert a.cluster.bus.ready
    own_valkey.signal(signal.SIGSTOP)
    try:
        await until(lambda: not a.cluster.bus.ready, within=8)
        await until(lambda: a.cluster.bus.reconnects > 0, within=8)
    finally:
        own_valkey.signal(signal.SIGCONT)
    await until(lambda: a.cluster.bus.ready, within=5)
    await a.cluster.emitter.publish([emit("2", "r")])
    await a.heard_all()
    assert socket.ids == ["1", "2"]
    await a.stop()


async def test_after_a_restart_of_redis_everything_is_heard_again(
    own_valkey: Valkey, names: Names
) -> None:
    a = await Node(own_valkey.url, names, renew_every=60).start()
    socket = await a.join("s1", "r")
    await a.cluster.presence.connect("mina", "s1")
    await a.cluster.emitter.publish([emit("1", "r")])
    await a.heard_all()
    own_valkey.kill()
    own_valkey.start()
    await until(lambda: a.cluster.bus.reconnects and a.cluster.bus.ready, within=5)
    await a.cluster.emitter.publish([emit("1", "r"), emit("2", "r")])
    await a.heard_all()
    assert socket.ids == ["1", "1", "2"], "an id may come again in another epoch"
    assert socket.received[-1].offset > socket.received[0].offset
    assert await a.cluster.presence.online(["mina"]) == {"mina"}
    await a.stop()


async def test_trimmed_logs_are_told(start: Start, line: Line, names: Names) -> None:
    a, b = await start(), await start()
    await a.join("s1", "r")
    await b.cluster.emitter.publish([emit("1", "r")])
    await a.heard_all()
    # Nothing live reaches the node while its channel is taken from it behind its back.
    a.cluster.bus._link.push_command(  # type: ignore[union-attr]
        "UNSUBSCRIBE", names[1].room("/", "r")
    )
    await b.cluster.emitter.publish([emit(f"n{n}", "r") for n in range(400)])
    a.cluster.bus.position = a.cluster.bus.position[:-12] + "000000000001"
    a.cluster.bus._link.close()  # type: ignore[union-attr]
    await until(lambda: a.sockets.lost_rooms)
    assert a.sockets.lost_rooms == [("/", ("r",))]


async def test_the_socketio_channel_takes_plain_json(start: Start, line: Line) -> None:
    a = await start()
    socket = await a.join("j1", "r")
    message = {"method": "emit", "event": "x", "data": {"id": "1"}, "room": "j1"}
    await line.call("PUBLISH", "socketio", json.dumps(message))
    await until(lambda: socket.ids == ["1"])
