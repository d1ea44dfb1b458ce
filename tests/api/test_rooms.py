"""Rooms over REST: read by members, counted and cleared by services."""

from datetime import timedelta
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from hub.domain import chat
from hub.domain.people import sessions
from protocol.events.chat import ChatBan, ChatSend
from tests.api.conftest import PREFIX, Door

ROOM = "chat:lobby"
MESSAGES = f"{PREFIX}/rooms/{quote(ROOM)}/messages"
NOBODYS = "15e90bc3-255d-4186-ad74-fa0d2a0100b8"
"""No message; the same in every process that collects the tests."""


async def say(door: Door, user_id: str, text: str) -> str:
    form = ChatSend(room_id="lobby", content=text, client_message_id=str(uuid4()))
    async with door.domain.outbox.change() as change:
        return (await chat.send(door.domain, change, user_id, form)).message_id


async def test_members_read_what_was_said_page_by_page(door: Door) -> None:
    await chat.enter(door.domain, "minji", ROOM)
    ids = [await say(door, "minji", f"{n}") for n in range(5)]
    await door.domain.pool.execute(  # of one moment, so the id decides
        "UPDATE room_messages SET created_at = date_trunc('minute', created_at)"
    )
    ids.sort(key=UUID)
    first = await door.call("GET", f"{MESSAGES}?limit=2", as_="minji")
    assert first.status == 200
    assert [one["messageId"] for one in first.body["items"]] == ids[:2]
    assert set(first.body["items"][0]) == {
        "messageId", "roomId", "userId", "nickname", "content", "clientMessageId", "createdAt",
    }  # fmt: skip
    rest = await door.call("GET", f"{MESSAGES}?limit=100&before={ids[1]}", as_="minji")
    assert [one["messageId"] for one in rest.body["items"]] == ids[2:]


@pytest.mark.refused
async def test_who_is_no_member_reads_nothing(door: Door) -> None:
    for user in ("minji", "jiho"):
        await chat.enter(door.domain, user, ROOM)
    await say(door, "minji", "hello")
    assert (await door.call("GET", MESSAGES, as_="stranger")).code == "FORBIDDEN"
    await chat.leave(door.domain, "minji", ROOM)
    assert (await door.call("GET", MESSAGES, as_="minji")).code == "FORBIDDEN"
    async with door.domain.outbox.change() as change:
        await chat.ban(door.domain, change, ChatBan(room_id="lobby", user_id="jiho", minutes=1))
    assert (await door.call("GET", MESSAGES, as_="jiho")).code == "FORBIDDEN"
    await door.domain.pool.execute(
        "UPDATE room_memberships SET banned_until = banned_until - $1::interval",
        timedelta(minutes=1),
    )
    assert len((await door.call("GET", MESSAGES, as_="jiho")).body["items"]) == 1


@pytest.mark.parametrize(
    ("room", "query", "status"),
    [
        ("lobby", "", 400),
        ("cell:8830e1d8a1fffff", "", 403),
        ("mute:ildo2", "", 403),
        ("user:minji", "", 403),
        (ROOM, "?limit=0", 400),
        (ROOM, "?limit=101", 400),
        (ROOM, "?before=no-uuid", 404),
        (ROOM, f"?before={NOBODYS}", 404),
        (ROOM, "?more=1", 400),
    ],
)
@pytest.mark.refused
async def test_what_cannot_be_read(door: Door, room: str, query: str, status: int) -> None:
    await chat.enter(door.domain, "minji", ROOM)
    path = f"{PREFIX}/rooms/{quote(room)}/messages{query}"
    assert (await door.call("GET", path, as_="minji")).status == status


async def test_presence_is_for_services_and_admins(door: Door) -> None:
    path = f"{PREFIX}/rooms/{quote(ROOM)}/presence"
    root = door.token("root", role="admin")
    for who in (door.key, root):
        reply = await door.call("GET", path, as_=who)
        assert (reply.status, reply.body) == (200, {"count": 0, "users": []})
    narrow = await sessions.add_service(door.domain, "narrow", scopes=("broadcast:write",))
    for who in (narrow, "minji"):
        assert (await door.call("GET", path, as_=who)).code == "FORBIDDEN"
    of_place = f"{PREFIX}/rooms/region:jeju/presence"
    assert (await door.call("GET", of_place, as_=root)).body == {"count": 0}
    for hidden in ("cell:8830e1d8a1fffff", "mute:ildo2"):
        reply = await door.call("GET", f"{PREFIX}/rooms/{hidden}/presence", as_=root)
        assert reply.code == "FORBIDDEN"


async def test_a_person_is_removed_by_the_rooms_own_service(door: Door) -> None:
    await chat.enter(door.domain, "minji", ROOM)
    path, body = f"{PREFIX}/rooms/{quote(ROOM)}/remove", {"userId": "minji"}
    shop = await sessions.add_service(door.domain, "shop", room_prefixes=("stream:",))
    for who in (shop, "minji", door.token("root", role="admin")):
        assert (await door.call("POST", path, body, as_=who)).code == "FORBIDDEN"
    assert (await door.call("POST", path, {}, as_=door.key)).code == "INVALID_PAYLOAD"
    assert await door.count("room_memberships") == 1
    reply = await door.call("POST", path, body, as_=door.key)
    assert (reply.status, reply.raw) == (204, b"")
    assert await door.count("room_memberships") == 0
    assert await door.count("outbox", "published_at IS NOT NULL") == 1
