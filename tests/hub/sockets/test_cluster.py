"""What other servers may ask and order of the sockets of a node."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import generate_latest
from socketio import AsyncRedisManager

from hub.domain.places.geometry import cell_of
from hub.engine import Member
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.metrics import REGISTRY
from hub.sockets.guest import guest_of, left_of
from protocol.redis_wire import Broadcast
from tests import verbs
from tests.hub.sockets.conftest import JEJU, Connect, Running, running, settle_in
from tests.hub.sockets.test_alert import urgent


@pytest.fixture
async def other(hub: Running, settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as one:
        yield one


def member_of(hub: Running, user_id: str) -> Member:
    guests = hub.door.node.guests.values()
    return next(member for member in guests if guest_of(member).user_id == user_id)


async def obeyed(hub: Running, other: Running, user_id: str) -> None:
    """Until everything ordered so far has been carried out: orders are obeyed one by one."""
    node, last = hub.door.node, "room of the last order"
    manager, entered = node.server.manager, asyncio.Event()
    opened = manager.namespaces.hooks.opened
    assert opened is not None

    def noticed(namespace: str, room: Any) -> None:
        opened(namespace, room)
        if room == last:
            entered.set()

    manager.namespaces.hooks.opened = noticed
    await other.door.node.requests.join("/", (f"user:{user_id}",), (last,))
    async with asyncio.timeout(10):
        await entered.wait()
        await node.orders.join()


async def test_sockets_are_listed_without_secrets_and_places(
    hub: Running, other: Running, connect: Connect
) -> None:
    await settle_in(hub, "minji")
    client = await connect(hub, "minji")
    await connect(other, "jiho")
    found = await other.door.node.requests.fetch_sockets("/")
    assert found.missing == 0
    by_user = {one.data["userId"]: one for one in found.values}
    assert set(by_user) == {"minji", "jiho"}
    assert by_user["minji"].id == client.sio.get_sid()
    assert "user:minji" in by_user["minji"].rooms
    text = json.dumps([[one.rooms, one.handshake, one.data] for one in found.values])
    assert "cell:" not in text
    assert "token" not in text
    rooms = await other.door.node.requests.all_rooms("/")
    assert {"user:minji", "user:jiho", client.sio.get_sid()} <= set(rooms.values)
    assert not [room for room in rooms.values if room.startswith(("cell:", "mute:"))]


async def test_rooms_are_joined_and_left_by_order(
    hub: Running, other: Running, connect: Connect
) -> None:
    client = await connect(hub, "minji")
    requests = other.door.node.requests
    sid = client.sio.get_sid()
    await requests.join("/", (sid,), ("room9", "room8"))
    await requests.leave("/", ("room9",), ("room8",))
    await obeyed(hub, other, "minji")
    assert "room9" in member_of(hub, "minji").room_names
    assert "room8" not in member_of(hub, "minji").room_names


@pytest.mark.fault(21)
async def test_a_move_of_ours_does_not_undo_what_the_client_asked_for(
    hub: Running, other: Running, connect: Connect
) -> None:
    code = hub.domain.atlas.neighbourhood_of(*JEJU)
    await settle_in(hub, "minji")
    client = await connect(hub, "minji")
    await client.call("neighbourhood:join", {"code": code})
    await settle_in(other, "minji", 33.253, 126.560)
    await obeyed(hub, other, "minji")
    names = member_of(hub, "minji").room_names
    assert f"neighbourhood:{code}" in names
    assert not any(str(name).endswith(f"{cell_of(*JEJU):x}") for name in names)


async def test_sockets_are_disconnected_by_order(
    hub: Running, other: Running, connect: Connect
) -> None:
    client = await connect(hub, "minji")
    left = left_of(guest_of(member_of(hub, "minji")))
    await other.door.node.requests.disconnect("/", ("user:minji",))
    await client.next("(disconnect)")
    await left


async def test_clients_are_asked_through_another_node(
    hub: Running, other: Running, connect: Connect
) -> None:
    client = await connect(hub, "minji")
    client.sio.on("how many", lambda data: data["n"] + 1)
    asked = Broadcast(event="how many", args=[{"n": 1}], rooms=("user:minji",))
    answers = await other.door.node.requests.ask_clients(asked, timeout=5.0)
    assert (answers.values, answers.missing) == ([2], 0)


async def test_a_move_that_was_not_heard_is_made_up_for(hub: Running, connect: Connect) -> None:
    """Orders are heard once or never: after a gap of the bus the rooms are found out anew."""
    await settle_in(hub, "minji", 33.253, 126.560)
    client = await connect(hub, "minji")
    cell = cell_of(*JEJU)
    await hub.domain.pool.execute("UPDATE user_locations SET cell = $1", cell)
    before = hub.door.node.bus.reconnects
    await hub.domain.redis.client_kill_filter(_type="pubsub")
    member = member_of(hub, "minji")
    async with asyncio.timeout(15):
        while f"cell:{cell:x}" not in member.room_names:
            await asyncio.sleep(0.05)
    assert hub.door.node.bus.reconnects > before
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    assert (await client.next("question:urgent"))["questionId"] == asked.id


async def test_the_exposition_names_each_family_once(hub: Running, connect: Connect) -> None:
    await connect(hub, "minji")
    text = generate_latest(REGISTRY).decode()
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert 'active_connections{namespace="/"} 1.0' in text
    assert 'redis_connected{client="bus"} 1.0' in text


async def test_nothing_of_a_socket_stays(hub: Running, connect: Connect) -> None:
    node = hub.door.node
    idle: dict[str, Any] = {"rooms": node.bus.rooms}
    await settle_in(hub, "minji")
    client = await connect(hub, "minji", recovery=True)
    await client.call("neighbourhood:join", {"code": node.domain.atlas.neighbourhoods[0].code})
    left = left_of(guest_of(member_of(hub, "minji")))
    await client.close()
    await left
    await asyncio.sleep(0)
    assert node.bus.rooms == idle["rooms"]
    assert not node.guests
    assert not len(node.expiries)
    assert not node.server.manager.namespaces["/"].members
    keys = [key async for key in node.domain.redis.scan_iter(f"{node.domain.keys.prefix}room:*")]
    assert keys == []


async def test_a_stock_python_emitter_reaches_the_sockets(
    hub: Running, other: Running, settings: Settings, connect: Connect
) -> None:
    """Every node hears python-socketio's own channel, and none says it again to the others."""
    assert settings.redis.url is not None
    here, there = await connect(hub, "minji"), await connect(other, "jiho")
    stock = AsyncRedisManager(settings.redis.url.get_secret_value(), write_only=True)
    for room in ("user:minji", "user:jiho"):
        await stock.emit("note", {"text": room, "photo": b"\x00\x01"}, room=room)
    assert await here.next("note") == {"text": "user:minji", "photo": b"\x00\x01"}
    assert await there.next("note") == {"text": "user:jiho", "photo": b"\x00\x01"}
    await stock.emit("end", {}, room=["user:minji", "user:jiho"])
    await asyncio.gather(here.next("end"), there.next("end"))
    for client in (here, there):
        assert [name for name, _ in client.heard if name in ("note", "end")] == ["note", "end"]
    await stock.redis.aclose()
