"""What publish puts on Redis: channels, offsets, logs, once by id."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import RedisError

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.link import Link
from hub.cluster.server import Server
from protocol.events import Emit
from protocol.names import Channels, Keys
from protocol.redis_wire import Broadcast, decode_broadcast
from protocol.stock import Untellable
from tests.hub.cluster.valkey import Valkey


class Listener:
    """Everything that is published on channels that begin with a prefix."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.ready = asyncio.Event()

    async def open(self, url: str, prefix: str) -> Link:
        link = await Server.of(url).open("listener", self._push)
        link.push_command("PSUBSCRIBE", f"{prefix}*")
        await asyncio.wait_for(self.ready.wait(), 5)
        return link

    def _push(self, push: list[Any]) -> None:
        if push[0] == b"psubscribe":
            self.ready.set()
        else:
            self.messages.put_nowait((push[2].decode(), push[3]))

    async def next(self) -> tuple[str, Broadcast]:
        channel, data = await asyncio.wait_for(self.messages.get(), 5)
        return channel, decode_broadcast(data)


def emit(id_: str, *rooms: str, **more: Any) -> Emit:
    return Emit(id=id_, event="question:created", rooms=rooms, data={"id": id_}, **more)


async def test_one_room_hears_the_event_with_its_offset(
    valkey: Valkey, emitter: Emitter, names: tuple[Keys, Channels], line: Line
) -> None:
    keys, channels = names
    listener = Listener()
    link = await listener.open(valkey.url, channels.key)
    await emitter.publish([emit("e1", "tag:sea", klass="alert", deadline=1.5)])
    channel, broadcast = await listener.next()
    assert channel == channels.room("/", "tag:sea")
    assert broadcast.args == [{"id": "e1"}]
    assert (broadcast.klass, broadcast.deadline, len(broadcast.offset)) == ("alert", 1.5, 26)
    entries = await line.call("XRANGE", keys.room_log("/", "tag:sea"), "-", "+")
    assert decode_broadcast(entries[0][1][3] + broadcast.offset.encode()) == broadcast
    link.close()


async def test_an_id_goes_out_once(emitter: Emitter) -> None:
    message = Broadcast(event="x", args=[{}], rooms=("r",))
    first, second, other = await emitter.broadcast([("a", message), ("a", message), ("b", message)])
    assert first
    assert second == ""
    assert other > first


async def test_up_to_four_rooms_get_a_message_each_that_excepts_those_before(
    valkey: Valkey, emitter: Emitter, names: tuple[Keys, Channels]
) -> None:
    channels = names[1]
    listener = Listener()
    link = await listener.open(valkey.url, channels.key)
    await emitter.publish([emit("e1", "a", "b", "c", except_rooms=("x",))])
    heard = [await listener.next() for _ in range(3)]
    assert [channel for channel, _ in heard] == [channels.room("/", r) for r in "abc"]
    assert len({broadcast.offset for _, broadcast in heard}) == 1
    assert all(broadcast.rooms == ("a", "b", "c") for _, broadcast in heard)
    assert all(broadcast.except_rooms == ("x",) for _, broadcast in heard)
    link.close()


async def test_more_rooms_and_none_go_once_on_the_namespace_channel(
    valkey: Valkey, emitter: Emitter, names: tuple[Keys, Channels]
) -> None:
    channels = names[1]
    listener = Listener()
    link = await listener.open(valkey.url, channels.key)
    await emitter.publish([emit("e1", *"abcde", namespace="/chat"), emit("e2")])
    first, second = await listener.next(), await listener.next()
    assert first[0] == channels.namespace("/chat")
    assert first[1].rooms == tuple("abcde")
    assert (second[0], second[1].rooms) == (channels.namespace("/"), ())
    assert listener.messages.empty()
    link.close()


async def test_volatile_events_have_no_offset_and_no_log(
    valkey: Valkey, emitter: Emitter, names: tuple[Keys, Channels], line: Line
) -> None:
    keys, channels = names
    listener = Listener()
    link = await listener.open(valkey.url, channels.key)
    await emitter.publish([emit("e1", "a", "b", klass="volatile", key="k")])
    first, second = await listener.next(), await listener.next()
    assert (first[1].klass, first[1].key, first[1].offset) == ("volatile", "k", "")
    assert second[1].except_rooms == ("a",)
    assert await line.call("EXISTS", keys.room_log("/", "a"), keys.epoch) == 0
    link.close()


async def test_calls_keep_their_order(
    valkey: Valkey, emitter: Emitter, names: tuple[Keys, Channels]
) -> None:
    listener = Listener()
    link = await listener.open(valkey.url, names[1].key)
    await asyncio.gather(
        *(emitter.publish([emit(f"{n}a", "r"), emit(f"{n}b", "r")]) for n in range(50))
    )
    heard = [(await listener.next())[1] for _ in range(100)]
    assert [b.args[0]["id"] for b in heard] == [f"{n}{x}" for n in range(50) for x in "ab"]
    assert [b.offset for b in heard] == sorted(b.offset for b in heard)
    link.close()


async def test_scripts_are_loaded_again_when_somebody_flushed_them(
    emitter: Emitter, line: Line
) -> None:
    await emitter.publish([emit("e1", "r")])
    await line.call("SCRIPT", "FLUSH")
    await emitter.publish([emit("e2", "r")])


async def test_publish_raises_while_redis_is_away_and_works_again_after(
    own_valkey: Valkey, names: tuple[Keys, Channels]
) -> None:
    line = Line(Server.of(own_valkey.url))
    emitter = Emitter(line, *names)
    first = (await emitter.broadcast([("a", Broadcast(event="x", args=[{}], rooms=("r",)))]))[0]
    own_valkey.kill()
    with pytest.raises(RedisError):
        await emitter.publish([emit("b", "r")])
    own_valkey.start()
    second = ""
    async with asyncio.timeout(10):
        while not second:
            try:
                message = Broadcast(event="x", args=[{}], rooms=("r",))
                second = (await emitter.broadcast([("a", message)]))[0]
            except RedisError:
                await asyncio.sleep(0.05)
    assert second.split("-")[0] > first.split("-")[0], "a restart begins another epoch"
    assert second.split("-")[1] == "000000000001"
    await line.close()


@pytest.mark.fault(3, 26)
@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("x:photos", {f"p{number}": b"1" for number in range(11)}),
        ("x:photos", {"at": {"_placeholder": True, "num": 0}, "part": b"1"}),
        ("disconnect", {}),
        ("newListener", {}),
        ("line\nbreak", {}),
    ],
)
async def test_what_stock_clients_cannot_decode_enters_no_log(
    emitter: Emitter, line: Line, names: tuple[Keys, Channels], event: str, data: dict[str, Any]
) -> None:
    before = await emitter.epoch()
    with pytest.raises(Untellable) as refused:
        await emitter.emit(event, data, room="user:poisoned")
    assert refused.value.code == "INVALID_PAYLOAD"
    if event != "line\nbreak":
        with pytest.raises(Untellable):
            await emitter.publish([Emit(id="1", event=event, rooms=("r",), data=data)])
    assert await line.call("KEYS", f"{names[0].prefix}log:*") == []
    assert await emitter.epoch() == before


@pytest.mark.fault(28)
async def test_rooms_may_hold_joined_emoji_and_braces(emitter: Emitter) -> None:
    assert await emitter.emit("x", {}, room="stream:👨‍👩‍👧")
    assert await emitter.emit("x", {}, room="user:{}")
    for room in ("user:a\nb", "user:a\u2028b", "user:a\x85b", "user:\ud83d", "user:a\x00"):
        with pytest.raises(Untellable):
            await emitter.emit("x", {}, room=room)
