"""Banned from a room: out on all nodes, refused at join and at recovery."""

import asyncio
from typing import Any

import pytest

from hub.embedded import Postgres
from hub.plumbing.settings.settings import Settings
from hub.sockets.guest import guest_of
from tests.hub.sockets.conftest import Running, running
from tests.hub.sockets.talkers import Talker
from tests.hub.sockets.test_chat import ROOM, Come, code, come, other
from tests.hub.sockets.test_outage import on_postgres, own_postgres

__all__ = ["come", "other", "own_postgres"]


@pytest.fixture
async def admin(hub: Running, come: Come) -> Talker:
    root = await come(hub, "root", "admin")
    await root.enter_room()
    return root


def member_of(hub: Running, user_id: str) -> Any:
    guests = hub.door.node.guests.values()
    return next(one for one in guests if guest_of(one).user_id == user_id)


def rooms_of(hub: Running, user_id: str) -> list[str]:
    return [str(name) for name in member_of(hub, user_id).room_names]


async def test_the_banned_are_out_on_all_nodes(
    hub: Running, other: Running, come: Come, admin: Talker
) -> None:
    here, there = await come(hub, "minji"), await come(other, "minji")
    for one in (here, there):
        await one.enter_room()
    await here.enter_room(roomId="elsewhere")
    answer = await admin.ask("chat:ban", userId="minji", minutes=10)
    assert set(answer) == {"ok", "bannedUntil"}
    assert (await admin.next("chat:user-left"))["userId"] == "minji"
    assert rooms_of(hub, "minji") == ["user:minji", "chat:elsewhere"]
    assert rooms_of(other, "minji") == ["user:minji"]
    for one in (here, there):
        assert code(await one.say("let me in")) == "FORBIDDEN"
        assert code(await one.enter_room()) == "FORBIDDEN"
    await admin.say("quiet now")
    await admin.next("chat:message")
    assert "chat:message" not in here.names() + there.names()
    assert await admin.ask("chat:ban", userId="minji", minutes=0)
    assert (await here.enter_room())["ok"], "no minutes lift a ban"


async def test_a_ban_and_a_join_of_one_moment_leave_nobody_inside(
    hub: Running, other: Running, come: Come, admin: Talker
) -> None:
    """Whichever comes first: the join asks again when the socket is in, the order comes after."""
    minji = await come(other, "minji")
    names = [f"race{number}" for number in range(12)]
    joins = (minji.enter_room(roomId=name) for name in names)
    bans = (admin.ask("chat:ban", roomId=name, userId="minji", minutes=5) for name in names)
    await minji.enter_room()  # makes the row that a ban names
    await asyncio.gather(*(call for pair in zip(joins, bans, strict=True) for call in pair))
    async with asyncio.timeout(10):
        while [room for room in rooms_of(other, "minji") if "race" in room]:
            await asyncio.sleep(0.02)
    again = await asyncio.gather(*(minji.enter_room(roomId=name) for name in names))
    assert {code(answer) for answer in again} == {"FORBIDDEN"}


async def test_leaving_lifts_no_ban(hub: Running, come: Come, admin: Talker) -> None:
    minji = await come(hub, "minji")
    await minji.enter_room()
    await admin.ask("chat:ban", userId="minji", minutes=10)
    assert (await minji.ask("chat:leave-room"))["ok"]
    assert code(await minji.enter_room()) == "FORBIDDEN"


async def test_a_ban_ends_by_itself(hub: Running, come: Come, admin: Talker) -> None:
    minji = await come(hub, "minji")
    await minji.enter_room()
    await admin.ask("chat:ban", userId="minji", minutes=1)
    await hub.domain.pool.execute(
        "UPDATE room_memberships SET banned_until = banned_until - interval '1 minute'"
    )
    assert (await minji.enter_room())["ok"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"userId": "nobody", "minutes": 5}, "NOT_FOUND"),
        ({"userId": "root", "minutes": -1}, "INVALID_PAYLOAD"),
        ({"userId": "root", "minutes": 10**9}, "INVALID_PAYLOAD"),
        ({"userId": "root", "minutes": 5, "roomId": "가" * 60}, "INVALID_PAYLOAD"),
    ],
)
async def test_what_no_ban_is_made_of(admin: Talker, data: dict[str, Any], expected: str) -> None:
    assert code(await admin.ask("chat:ban", **data)) == expected


@pytest.mark.parametrize("while_away", [True, False])
@pytest.mark.refused
async def test_the_banned_do_not_come_back_by_recovery(
    hub: Running, other: Running, come: Come, admin: Talker, while_away: bool
) -> None:
    """Neither who was banned while away, nor whose order no node heard."""
    minji = await come(hub, "minji", recovery=True)
    await minji.enter_room()
    member = member_of(hub, "minji")
    pid, sid = guest_of(member).session.pid, member.sid  # type: ignore[union-attr]
    left = asyncio.get_running_loop().create_future()
    guest_of(member).left = left
    hub.door.node.server.cut(member)
    await asyncio.wait_for(left, 10)
    if while_away:
        await admin.ask("chat:ban", userId="minji", minutes=10)
    else:
        await hub.domain.pool.execute(
            "UPDATE room_memberships SET banned_until = now() + interval '1 hour'"
            " WHERE user_id = 'minji'"
        )
    again = await come(other, "minji", recovery=True, pid=pid)
    assert again.sio.get_sid("/chat") == sid
    assert rooms_of(other, "minji") == ["user:minji"]


async def test_who_comes_in_while_postgres_is_away_is_looked_after(
    settings: Settings, own_postgres: Postgres, come: Come
) -> None:
    """Nothing is said meanwhile; the banned are out again as soon as it is back."""
    async with running(on_postgres(settings, own_postgres.url)) as hub:
        good, bad = await come(hub, "minji"), await come(hub, "jiho")
        for one in (good, bad):
            assert (await one.enter_room())["recent"] == []
        await hub.domain.pool.execute(
            "UPDATE room_memberships SET banned_until = now() + interval '1 hour'"
            " WHERE user_id = 'jiho'"
        )
        await bad.ask("chat:leave-room")
        port = own_postgres.port
        await own_postgres.stop()
        refused = (await good.say("hello"))["error"]
        assert refused["code"] == "UNAVAILABLE"
        assert refused["retryAfterMs"] > 0
        for one in (good, bad):
            assert (await one.enter_room())["recent"] is None
        own_postgres.port = port
        await own_postgres.start()
        async with asyncio.timeout(20):
            while ROOM in rooms_of(hub, "jiho"):
                await asyncio.sleep(0.05)
        assert ROOM in rooms_of(hub, "minji")
        assert (await good.say("hello"))["ok"]
        for one in (good, bad):
            await one.close()
