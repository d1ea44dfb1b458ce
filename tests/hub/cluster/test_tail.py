"""Listening to the bus: everything that passes, without being a server, through losses of Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import socketio
from redis.exceptions import RedisError

from hub.cluster import tail
from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.orders import move
from hub.cluster.server import Server
from hub.cluster.tail import Passed, Tail
from hub.embedded.supervisor import free_port
from protocol.events import Move
from protocol.names import Channels, Keys
from tests.hub.cluster.nodes import Node
from tests.hub.cluster.valkey import Valkey

Names = tuple[Keys, Channels]

EMITTED = bytes.fromhex(
    "93a7656d697474657283a47479706502a46461746192a2657601a36e7370a12f"
    "83a5726f6f6d7390a5666c61677380a665786365707490"
)
"""`emitter.emit("ev", 1)` of @socket.io/redis-emitter 5, as captured on Redis."""


INFINITE_ROOM = (
    b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x81\xa5rooms\x91\xcb\x7f\xf0" + b"\0" * 6
)


class Heard:
    """What one Tail gave, awaited."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Passed] = asyncio.Queue()
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def next(self) -> Passed:
        async with asyncio.timeout(10):
            return await self.messages.get()

    async def sentence(self) -> str:
        async with asyncio.timeout(10):
            return await self.told.get()


@asynccontextmanager
async def listening(url: str, channels: Channels, **more: Any) -> AsyncIterator[tuple[Tail, Heard]]:
    heard = Heard()
    given = (heard.messages.put_nowait, heard.told.put_nowait)
    one = Tail(Server.of(url), channels, *given, classic_out=True, **more)
    began = asyncio.Event()
    task = asyncio.create_task(one.run(began.set))
    try:
        async with asyncio.timeout(10):
            await began.wait()
        yield one, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_our_events_pass_with_their_class_and_offset(
    valkey: Valkey, emitter: Emitter, names: Names
) -> None:
    async with listening(valkey.url, names[1]) as (_, heard):
        offset = await emitter.emit("answer:created", {"id": "a1"}, room="user:u")
        await emitter.emit("near", {"id": "a2"}, room="user:u", volatile=True)
        first, second = await heard.next(), await heard.next()
    assert (first.event, first.klass, first.offset) == ("answer:created", "alert", offset)
    assert (first.namespace, first.rooms, first.said) == ("/", ("user:u",), {"id": "a1"})
    assert (second.event, second.klass, second.offset) == ("near", "volatile", "")


async def test_an_event_to_four_rooms_passes_once(
    valkey: Valkey, emitter: Emitter, names: Names
) -> None:
    async with listening(valkey.url, names[1]) as (_, heard):
        await emitter.emit("x", {"id": "x1"}, room=list("abcd"), except_rooms=["e"])
        await emitter.emit("x", {"id": "x2"}, room=list("abcd"))
        first, second = await heard.next(), await heard.next()
        assert heard.messages.empty()
    assert (first.said, first.rooms, first.except_rooms) == ({"id": "x1"}, tuple("abcd"), ("e",))
    assert second.said == {"id": "x2"}


async def test_the_official_emitters_and_python_socketios_own_pass(
    valkey: Valkey, line: Line, names: Names
) -> None:
    channels = names[1]
    async with listening(valkey.url, channels) as (_, heard):
        await line.call("PUBLISH", channels.namespace("/"), EMITTED)
        official = await heard.next()
        stock = socketio.RedisManager(valkey.classic_url, write_only=True)
        await asyncio.to_thread(stock.emit, "ev", {"a": 1}, room="r", namespace="/chat")
        python = await heard.next()
        while python.namespace != "/chat":  # the channel has one name for everybody
            python = await heard.next()
        stock.redis.close()
    assert (official.event, official.klass, official.said) == ("ev", "room", 1)
    assert official.offset == ""
    assert (python.event, python.klass, python.rooms) == ("ev", "python", ("r",))
    assert python.said == {"a": 1}


async def test_a_namespace_alone(valkey: Valkey, emitter: Emitter, names: Names) -> None:
    async with listening(valkey.url, names[1], namespace="/chat") as (_, heard):
        await emitter.emit("x", {"id": "x1"}, room="r")
        await emitter.emit("x", {"id": "x2"}, room="r", namespace="/chat")
        assert (await heard.next()).said == {"id": "x2"}


@pytest.mark.parametrize("wild", ["s*", "s?", "s[oi]", "s\\", "[s"])
async def test_a_key_with_the_characters_of_a_glob_means_itself(
    valkey: Valkey, line: Line, names: Names, wild: str
) -> None:
    mark = names[1].key
    channels = Channels(f"{mark}-{wild}")
    async with listening(valkey.url, channels, requests=True) as (_, heard):
        for key in (f"{mark}-so", f"{mark}-si", f"{mark}-s"):
            await line.call("PUBLISH", Channels(key).room("/", "r"), EMITTED)
        await line.call("PUBLISH", channels.room("/", "r"), EMITTED)
        assert (await heard.next()).channel == channels.room("/", "r")
        assert heard.messages.empty()


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        (Channels.namespace, b"\xc1"),
        (Channels.namespace, b"\x93\xa1u\xc0\x80"),
        (Channels.request, b'{"type":5'),
        (Channels.request, b"\xc0"),
        (Channels.response, b"[]"),
        (Channels.namespace, INFINITE_ROOM),
    ],
)
async def test_malformed_messages_are_counted_and_survived(
    valkey: Valkey,
    line: Line,
    names: Names,
    channel: Callable[[Channels, str], str],
    payload: bytes,
) -> None:
    channels = names[1]
    async with listening(valkey.url, channels, requests=True) as (one, heard):
        await line.call("PUBLISH", channel(channels, "/"), payload)
        bad = await heard.next()
        await line.call("PUBLISH", channels.namespace("/"), EMITTED)
        assert (await heard.next()).event == "ev"
        assert one.malformed == 1
    assert (bad.klass, bad.size, bad.channel) == ("malformed", len(payload), channel(channels, "/"))
    assert bad.event


async def test_whoever_listens_is_no_server(valkey: Valkey, line: Line, names: Names) -> None:
    """In the classic adapter the servers are the subscribers of the request channel; one too many
    makes every question wait until it times out.
    """
    channels = names[1]
    nodes = [await Node(valkey.url, names).start() for _ in range(2)]
    await nodes[1].join("s1", "r")
    async with listening(valkey.url, channels, requests=True) as (_, heard):
        count = await line.call("PUBSUB", "NUMSUB", channels.request("/"))
        assert int(count[1]) == 2
        found = await nodes[0].cluster.requests.fetch_sockets("/", ("r",))
        assert ([socket.id for socket in found.values], found.missing) == (["s1"], 0)
        question, answer = await heard.next(), await heard.next()
        assert (question.klass, question.event, question.rooms) == ("request", "fetch", ("r",))
        assert (answer.klass, answer.said) == ("response", {"sockets": 1})
    for node in nodes:
        await node.stop()


async def test_a_position_that_sockets_move_to_stays_untold(
    valkey: Valkey, line: Line, names: Names
) -> None:
    order = Move(room="user:u", join=("cell:8830e1d8e3fffff", "region:jeju"))
    async with listening(valkey.url, names[1], requests=True) as (_, heard):
        await move(line, names[1], [order])
        passed = await heard.next()
    assert (passed.event, passed.rooms) == ("join", ("user:u",))
    assert passed.said == {"into": ["cell:…", "region:jeju"]}


async def test_it_listens_again_after_redis_was_lost(own_valkey: Valkey, names: Names) -> None:
    channels = names[1]
    async with listening(own_valkey.url, channels) as (_, heard):
        own_valkey.kill()
        assert "lost" in await heard.sentence()
        own_valkey.start()
        assert "listening again" in await heard.sentence()
        line = Line(Server.of(own_valkey.url))
        await line.call("PUBLISH", channels.namespace("/"), EMITTED)
        assert (await heard.next()).event == "ev"
        await line.close()


async def test_a_redis_that_stops_answering_is_lost_too(
    own_valkey: Valkey, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "PING_EVERY", 0.1)
    async with listening(own_valkey.url, names[1]) as (_, heard):
        own_valkey.signal(signal.SIGSTOP)
        assert "lost" in await heard.sentence()
        own_valkey.signal(signal.SIGCONT)
        assert "listening again" in await heard.sentence()


@pytest.mark.single_server
async def test_what_it_may_not_hear_is_an_error_at_once(
    valkey: Valkey, line: Line, names: Names
) -> None:
    await line.call("ACL", "SETUSER", "deaf", "on", ">pw", "+@connection", "+psubscribe")
    url = f"redis://deaf:pw@127.0.0.1:{valkey.port}"
    for bad in (url, f"redis://127.0.0.1:{free_port()}"):
        async with asyncio.timeout(10):
            with pytest.raises(RedisError):
                await Tail(Server.of(bad), names[1], lambda _: None, lambda _: None).run()


def test_a_channel_and_its_parts() -> None:
    channels = Channels("key")
    assert channels.parts(channels.room("/", "a#b")) == ("broadcast", "/", "a#b")
    assert channels.parts(channels.namespace("/chat")) == ("broadcast", "/chat", "")
    assert channels.parts(channels.request("/")) == ("request", "/", "")
    assert channels.parts(channels.response_to("/", "uid")) == ("response", "/", "uid")
    for other in ("key", "key#/", "key#/#room", "keys#/#", "{}"):
        with pytest.raises(ValueError, match="not a channel"):
            channels.parts(other)
