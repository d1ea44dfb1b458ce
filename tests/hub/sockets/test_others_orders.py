"""Orders of official emitters, Node servers and python-socketio are obeyed to the letter: also for
rooms that the client asked for itself, and in the session it comes back to. Only the hub's own
moves keep those (test_cluster.py).
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from socketio import AsyncRedisManager

from hub.cluster import requests
from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.plumbing.settings.settings import Settings
from hub.sockets import from_cluster, whereabouts
from hub.sockets.guest import guest_of, left_of
from protocol.names import Channels
from protocol.redis_requests import Kind, Request, encode_request
from protocol.redis_wire import Broadcast
from tests.hub.cluster.node_peer import NodePeer
from tests.hub.sockets.conftest import Client, Connect, Running
from tests.hub.sockets.test_cluster import member_of
from tests.hub.sockets.test_recovery import back, drop

Record = Callable[[str, object], None]
Leave = Callable[[str, str], Awaitable[Any]]
"""Takes the socket `sid` out of `room`."""

STREAM = {"streamKey": "sold-out"}
ROOM = "stream:sold-out"


def url_of(settings: Settings) -> str:
    assert settings.redis.url is not None
    return settings.redis.url.get_secret_value()


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[NodePeer]:
    """A Node server in the cluster of the hub, and the official emitter."""
    peer = await NodePeer.start(url_of(settings), settings.redis.adapter_key)
    yield peer
    await peer.stop()


@pytest.fixture
async def python(settings: Settings) -> AsyncIterator[AsyncRedisManager]:
    manager = AsyncRedisManager(url_of(settings), write_only=True)
    yield manager
    if manager.redis is not None:
        await manager.redis.aclose()


@pytest.fixture(params=["emitter", "node server", "leave_room", "close_room"])
def leave(request: pytest.FixtureRequest, node: NodePeer, python: AsyncRedisManager) -> Leave:
    ways: dict[str, Leave] = {
        "emitter": lambda sid, room: node("emitterLeave", {"rooms": [sid]}, [room]),
        "node server": lambda sid, room: node("leave", {"rooms": [room]}, [room]),
        "leave_room": lambda sid, room: python.leave_room(sid, "/", room),
        "close_room": lambda sid, room: python.close_room(room, "/"),
    }
    return ways[request.param]


async def gone_from(hub: Running, user_id: str, room: str) -> None:
    """Until the socket has left and its session knows."""
    member = member_of(hub, user_id)
    session = guest_of(member).session
    assert session is not None
    async with asyncio.timeout(10):
        while room in member.room_names or room in session.rooms:
            await asyncio.sleep(0.01)


async def kept(hub: Running, user_id: str) -> set[str]:
    """Rooms that the person's only session has in Redis."""
    redis, keys = hub.domain.redis, hub.domain.keys
    pids: Any = await redis.zrange(keys.sessions(user_id), 0, -1)
    assert len(pids) == 1
    fields: Any = await redis.hgetall(keys.session(pids[0].decode()))
    return {name[2:].decode() for name in fields if name.startswith(b"r:")}


@pytest.mark.fault(21)
async def test_a_room_the_client_asked_for_is_left_for_good(
    hub: Running, connect: Connect, leave: Leave, record_property: Record
) -> None:
    client = await connect(hub, "minji", recovery=True)
    assert (await client.call("join:stream", STREAM))["ok"]
    assert ROOM in await kept(hub, "minji")
    sid = client.sio.get_sid()
    assert sid is not None
    await leave(sid, ROOM)
    await gone_from(hub, "minji", ROOM)
    assert guest_of(member_of(hub, "minji")).grounds.asked == ()
    assert ROOM not in await kept(hub, "minji")
    ready = await (await _returned(hub, connect, client)).next("ready")
    assert ready["recovered"] is True
    assert ROOM not in ready["rooms"]
    assert ROOM not in member_of(hub, "minji").room_names
    record_property("seen", "left, also in the stored session")


async def _returned(hub: Running, connect: Connect, client: Client) -> Client:
    left = left_of(guest_of(member_of(hub, "minji")))
    await drop(client)
    await left
    return await back(connect, hub, client, "minji")


@pytest.mark.fault(21)
async def test_the_client_may_ask_again(
    hub: Running, connect: Connect, python: AsyncRedisManager
) -> None:
    client = await connect(hub, "minji", recovery=True)
    for _ in range(2):
        assert (await client.call("join:stream", STREAM))["ok"]
        assert ROOM in member_of(hub, "minji").room_names
        await python.close_room(ROOM, "/")
        await gone_from(hub, "minji", ROOM)


@pytest.mark.fault(21)
async def test_who_is_away_does_not_come_back_to_the_room(
    hub: Running, connect: Connect, node: NodePeer
) -> None:
    client = await connect(hub, "minji", recovery=True)
    assert (await client.call("join:stream", STREAM))["ok"]
    left = left_of(guest_of(member_of(hub, "minji")))
    await drop(client)
    await left
    assert ROOM in await kept(hub, "minji")
    await node("emitterLeave", {"rooms": ["user:minji"]}, [ROOM])
    async with asyncio.timeout(10):
        while ROOM in await kept(hub, "minji"):
            await asyncio.sleep(0.01)
    ready = await (await back(connect, hub, client, "minji")).next("ready")
    assert (ready["recovered"], ROOM in ready["rooms"]) == (True, False)


@pytest.mark.fault(21)
async def test_a_room_of_another_server_is_kept_by_the_session(
    hub: Running, connect: Connect, node: NodePeer
) -> None:
    """What was joined by order is as good as what was left by order."""
    client = await connect(hub, "minji", recovery=True)
    await node("emitterJoin", {"rooms": ["user:minji"]}, ["lobby"])
    async with asyncio.timeout(10):
        while "lobby" not in await kept(hub, "minji"):
            await asyncio.sleep(0.01)
    ready = await (await _returned(hub, connect, client)).next("ready")
    assert (ready["recovered"], "lobby" in ready["rooms"]) == (True, True)


async def test_a_room_of_another_server_outlasts_an_outage(
    hub: Running, connect: Connect, node: NodePeer
) -> None:
    """Whoever has their rooms found out anew stays where another server put them."""
    await connect(hub, "minji", recovery=True)
    await node("emitterJoin", {"rooms": ["user:minji"]}, ["lobby"])
    member = member_of(hub, "minji")
    async with asyncio.timeout(10):
        while "lobby" not in member.room_names or "lobby" not in await kept(hub, "minji"):
            await asyncio.sleep(0.01)
    before = set(member.room_names)
    await whereabouts.settle(hub.door.node, member)
    assert set(member.room_names) == before
    assert "lobby" in before & await kept(hub, "minji")


# --- asks of other servers ----------------------------------------------------------------------


@pytest.fixture
async def line(settings: Settings) -> AsyncIterator[Line]:
    line = Line(Server.of(url_of(settings)), "go-server")
    yield line
    await line.close()


async def ask(line: Line, timeout_ms: float) -> None:
    """As the Go adapter asks: its time-out is a time.Duration, so nanoseconds."""
    asked = Request(
        kind=Kind.BROADCAST,
        uid="go",
        request_id="r1",
        broadcast=Broadcast(event="how many", args=[{}], rooms=("user:minji",)),
        timeout=timeout_ms / 1000,
    )
    await line.call("PUBLISH", Channels().request("/"), encode_request(asked))


def asks() -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is from_cluster._Asked]


@pytest.mark.fault(22)
@pytest.mark.parametrize("timeout_ms", [2e9, 2**63, 0, -1])
async def test_no_figure_of_another_server_keeps_a_timer_here(
    hub: Running,
    connect: Connect,
    line: Line,
    timeout_ms: float,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    monkeypatch.setattr(requests, "ASK_AT_MOST", 0.2)
    hub.door.node.requests._timeout = 0.2
    asked = asyncio.Event()
    client = await connect(hub, "minji")
    client.sio.on("how many", lambda data: asked.set())
    member = member_of(hub, "minji")
    client.sio.eio.send = _swallow  # it never answers
    await ask(line, timeout_ms)
    await asyncio.wait_for(asked.wait(), 10)
    async with asyncio.timeout(5):
        while member.callbacks or asks():
            await asyncio.sleep(0.02)
    record_property("seen", f"{timeout_ms:.0f} ms asked: a bounded timer")


async def _swallow(_packet: object) -> None:
    return None


@pytest.mark.fault(22)
async def test_the_timer_ends_with_the_last_answer(
    hub: Running, connect: Connect, line: Line
) -> None:
    asked = asyncio.Event()
    kept_meanwhile: list[type] = []

    async def answer(_data: object) -> int:
        kept_meanwhile.extend(type(one) for one in asks())
        asked.set()
        return 1

    client = await connect(hub, "minji")
    client.sio.on("how many", answer)
    await ask(line, 2e9)
    await asyncio.wait_for(asked.wait(), 10)
    assert kept_meanwhile == [from_cluster._Asked]
    async with asyncio.timeout(5):  # the timer of a minute would keep it
        while asks():
            await asyncio.sleep(0.02)
