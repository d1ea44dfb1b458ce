"""What sockets are given when they connect: each the same alone and among others."""

import asyncio

import pytest

from hub.domain import rooms
from hub.domain.arrival import arrive
from hub.domain.context import Domain
from protocol.errors import Code, HubError
from protocol.rest.questions import Ask
from tests import verbs


async def _people(d: Domain) -> None:
    await verbs.prefer(d, "minji", followed_hashtags=("sea",))
    await verbs.prefer(d, "jun", urgent_enabled=False)


async def test_people_who_come_together_are_given_what_each_is_given_alone(domain: Domain) -> None:
    d = domain
    await _people(d)
    asked = await verbs.ask(d, "jun", Ask(title="A", content="B", urgency="normal"))
    people = ["minji", "jun", "nobody-yet", "minji"]
    together = await arrive(d, people)
    assert together == [one for name in people for one in await arrive(d, [name])]
    assert {"user:minji", "tag:sea", "region:default"} <= set(together[0].rooms)
    assert set(together[1].rooms) == {"user:jun", f"question:{asked.id}"}
    assert together[2].rooms == ("user:nobody-yet", "region:default")


async def test_nobody_who_comes_waits_for_a_row_that_another_one_changes(domain: Domain) -> None:
    d = domain
    await _people(d)
    async with d.pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE users SET last_active_at = '2020-01-01' WHERE id = 'jun'")
        async with asyncio.timeout(5):
            assert len(await arrive(d, ["jun", "minji"])) == 2
    rows = await d.pool.fetch("SELECT id, last_active_at > '2021-01-01' AS seen FROM users")
    assert {row["id"]: row["seen"] for row in rows} == {"jun": False, "minji": True}


async def test_one_who_is_erased_is_refused(domain: Domain) -> None:
    d = domain
    await _people(d)
    await d.pool.execute("UPDATE users SET deleted_at = now() WHERE id = 'jun'")
    with pytest.raises(HubError) as refused:
        await arrive(d, ["minji", "jun"])
    assert refused.value.code == Code.FORBIDDEN


async def test_rooms_of_sessions_are_open_to_each_by_itself(domain: Domain) -> None:
    d = domain
    await _people(d)
    there = await verbs.ask(d, "jun", Ask(title="A", content="B", urgency="normal"))
    room, gone = f"question:{there.id}", "question:gone"
    await d.pool.execute(
        "INSERT INTO room_memberships (user_id, room, joined_at, banned_until) VALUES"
        " ('jun', 'chat:1', now(), now() + interval '1 day'), ('minji', 'chat:1', now(), NULL)"
    )
    assert await rooms.still_open(
        d,
        [
            ("jun", (room, gone, "chat:1", "stream:s", "user:minji", "others")),
            ("minji", ("chat:1", gone, "neighbourhood:nowhere")),
            ("minji", ()),
        ],
    ) == [(room, "stream:s", "others"), ("chat:1",), ()]
