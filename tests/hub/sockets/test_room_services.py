"""What services do with rooms where people are: on all nodes, and in sessions that are away."""

import asyncio
from typing import Any

import pytest

from hub.domain import rooms
from hub.domain.people import sessions
from hub.domain.people.sessions import Service
from hub.sockets.guest import guest_of
from protocol.errors import HubError
from protocol.rest.rooms import RoomPresence
from tests.hub.sockets.conftest import Connect, Running
from tests.hub.sockets.talkers import Talker
from tests.hub.sockets.test_chat import ROOM, Come, come, other
from tests.hub.sockets.test_chat_bans import member_of, rooms_of
from tests.hub.sockets.test_presence import Spectator, spectators

__all__ = ["come", "other", "spectators"]


@pytest.fixture
async def shop(hub: Running) -> Service:
    key = await sessions.add_service(
        hub.domain, "shop", room_prefixes=("chat:", "stream:", "neighbourhood:", "user:")
    )
    return await sessions.service(hub.domain, key)


async def remove(hub: Running, caller: Service, room: str, user_id: str) -> None:
    async with hub.domain.outbox.change() as change:
        await rooms.remove(hub.domain, change, caller, room, user_id)


async def test_out_of_a_chat_room_on_all_nodes_and_free_to_come_again(
    hub: Running, other: Running, come: Come, shop: Service
) -> None:
    here, there, stays = [await come(*who) for who in ((hub, "a"), (other, "a"), (other, "b"))]
    for one in (here, there, stays):
        await one.enter_room()
    await remove(hub, shop, ROOM, "a")
    assert (await stays.next("chat:user-left"))["userId"] == "a"
    assert rooms_of(hub, "a") == ["user:a"]
    assert rooms_of(other, "b") == ["user:b", ROOM]
    members = await hub.domain.pool.fetch("SELECT user_id FROM room_memberships")
    assert [row["user_id"] for row in members] == ["b"]
    assert (await here.enter_room())["ok"]


async def test_out_of_a_room_in_the_stored_session(
    hub: Running, other: Running, come: Come, shop: Service
) -> None:
    away: Talker = await come(hub, "a", recovery=True)
    await away.enter_room()
    member: Any = member_of(hub, "a")
    pid, sid = guest_of(member).session.pid, member.sid  # type: ignore[union-attr]
    left = guest_of(member).left = asyncio.get_running_loop().create_future()
    hub.door.node.server.cut(member)
    await asyncio.wait_for(left, 10)
    await remove(other, shop, ROOM, "a")
    key = hub.domain.keys.session(pid)
    async with asyncio.timeout(10):
        while await hub.domain.redis.hexists(key, f"r:{ROOM}"):
            await asyncio.sleep(0.02)
    back = await come(other, "a", recovery=True, pid=pid)
    assert back.sio.get_sid("/chat") == sid
    assert rooms_of(other, "a") == ["user:a"]


async def test_out_of_a_stream_in_both_of_its_namespaces(
    hub: Running, other: Running, connect: Connect, shop: Service, spectators: list[Spectator]
) -> None:
    client, viewer = await connect(hub, "a"), spectators[0]
    await client.call("join:stream", {"streamKey": "s"})
    assert (await viewer.watch(other, "a", "s"))["viewers"] == 1
    await remove(hub, shop, "stream:s", "a")
    async with asyncio.timeout(10):
        while "stream:s" in [*rooms_of(hub, "a"), *rooms_of(other, "a")]:
            await asyncio.sleep(0.02)
    assert (await rooms.presence(hub.domain, "stream:s")).count == 0


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("user:a", "FORBIDDEN"),
        ("tag:x", "FORBIDDEN"),
        ("cell:8830e1d8a1fffff", "FORBIDDEN"),
        ("mute:ildo2", "FORBIDDEN"),
        ("lobby", "INVALID_PAYLOAD"),
        ("chat:a\nb", "INVALID_PAYLOAD"),
    ],
)
async def test_rooms_that_nobody_is_put_out_of(
    hub: Running, shop: Service, room: str, code: str
) -> None:
    with pytest.raises(HubError) as refused:
        await remove(hub, shop, room, "a")
    assert refused.value.code == code


async def test_who_is_in_a_room(hub: Running, other: Running, come: Come, connect: Connect) -> None:
    for node, user in ((hub, "a"), (other, "a"), (other, "b")):
        await (await come(node, user)).enter_room()
    found = await rooms.presence(hub.domain, ROOM)
    assert (found.count, set(found.users or ())) == (2, {"a", "b"})
    for number in range(7):
        client = await connect(hub, f"p{number}")
        await client.call("neighbourhood:join", {"code": "ildo2"})
    found = await rooms.presence(hub.domain, "neighbourhood:ildo2")
    assert (found.count, found.users) == (5, None), "in steps of five, and nobody by name"
    assert await rooms.presence(hub.domain, "user:p1") == RoomPresence(count=1, users=("p1",))
    empty = await rooms.presence(hub.domain, "stream:nobody")
    assert (empty.count, empty.users) == (0, ())
    for hidden in ("cell:8830e1d8a1fffff", "mute:ildo2"):
        with pytest.raises(HubError, match="FORBIDDEN"):
            await rooms.presence(hub.domain, hidden)
