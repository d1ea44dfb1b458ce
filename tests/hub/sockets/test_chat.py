"""Chat over two nodes: said once, heard by all, taken back by admins, closed to the banned."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import socketio

from hub.domain.people import blocks
from hub.plumbing.settings.settings import Settings
from hub.sockets.guest import guest_of
from protocol.events import CLIENT_EVENTS
from tests.hub.sockets.conftest import Running, running
from tests.hub.sockets.talkers import CHAT, Talker

ROOM = "chat:lobby"

Come = Callable[..., Awaitable[Talker]]


@pytest.fixture
async def other(hub: Running, settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as one:
        yield one


@pytest.fixture
async def come() -> AsyncIterator[Come]:
    """Somebody comes to /chat of a hub; all of them leave after the test."""
    talkers: list[Talker] = []

    async def come(hub: Running, user_id: str, role: str = "user", **auth: Any) -> Talker:
        talkers.append(Talker())
        return await talkers[-1].come(hub, user_id, role, **auth)

    yield come
    await asyncio.gather(*(one.close() for one in talkers))


def code(answer: Any) -> Any:
    assert answer["ok"] is False, answer
    return answer["error"]["code"]


async def test_what_is_said_is_heard_on_all_nodes(hub: Running, other: Running, come: Come) -> None:
    minji, jiho = await come(hub, "minji"), await come(other, "jiho")
    first = await minji.enter_room()
    assert first == {"ok": True, "room": ROOM, "online": 1, "recent": []}
    said = await minji.say("안녕하세요", "c1")
    assert set(said) == {"ok", "messageId", "createdAt"}
    joined = await jiho.enter_room()
    assert joined["online"] == 2
    told = {
        "messageId": said["messageId"],
        "roomId": "lobby",
        "userId": "minji",
        "nickname": "minji",
        "content": "안녕하세요",
        "clientMessageId": "c1",
        "createdAt": said["createdAt"],
    }
    assert joined["recent"] == [told]
    again = await jiho.say("네, 안녕하세요")
    for one in (minji, jiho):
        heard = await one.next("chat:message", lambda m: m["userId"] == "jiho")
        assert heard["messageId"] == heard["id"] == again["messageId"]
    assert await minji.next("chat:message") == {"id": said["messageId"], **told}


async def test_a_repeat_is_acknowledged_like_the_first(
    hub: Running, other: Running, come: Come
) -> None:
    here, there = await come(hub, "minji"), await come(other, "minji")
    listener = await come(other, "jiho")
    for one in (here, there, listener):
        await one.enter_room()
    answers = await asyncio.gather(
        *(one.say("hello", "same") for _ in range(3) for one in (here, there))
    )
    assert {(one["messageId"], one["createdAt"]) for one in answers} == {
        (answers[0]["messageId"], answers[0]["createdAt"])
    }
    await here.say("other text", "same")
    await here.say("end")
    await listener.next("chat:message", lambda m: m["content"] == "end")
    assert listener.told("chat:message", "content") == ["hello", "end"]
    assert await hub.domain.pool.fetchval("SELECT count(*) FROM room_messages") == 2
    jiho = await listener.say("mine", "same")
    assert jiho["messageId"] != answers[0]["messageId"], "the id is the sender's own"
    elsewhere = await here.enter_room(roomId="other")
    assert elsewhere["ok"]
    assert (await here.say("x", "same", roomId="other"))["messageId"] != answers[0]["messageId"]


async def test_after_a_day_an_id_is_new_again(hub: Running, come: Come) -> None:
    minji = await come(hub, "minji")
    await minji.enter_room()
    first = await minji.say("hello", "same")
    day = timedelta(hours=24)
    await hub.domain.pool.execute(
        "UPDATE room_message_keys SET created_at = created_at - $1::interval + interval '1 minute'",
        day,
    )
    assert (await minji.say("hello", "same"))["messageId"] == first["messageId"]
    await hub.domain.pool.execute(
        "UPDATE room_message_keys SET created_at = created_at - interval '1 minute'"
    )
    assert (await minji.say("hello", "same"))["messageId"] != first["messageId"]


async def test_the_last_fifty_are_given_oldest_first(hub: Running, come: Come) -> None:
    minji = await come(hub, "minji")
    await minji.enter_room()
    now = hub.domain.now()
    await hub.domain.pool.executemany(
        "INSERT INTO room_messages (id, created_at, room, user_id, content, client_message_id)"
        " VALUES ($1, $2, 'chat:lobby', 'minji', $3, $3)",
        [(uuid4(), now - timedelta(seconds=100 - n), str(n)) for n in range(60)],
    )
    recent = (await minji.enter_room())["recent"]
    assert [one["content"] for one in recent] == [str(n) for n in range(10, 60)]


async def test_messages_of_one_socket_keep_their_order(hub: Running, come: Come) -> None:
    minji = await come(hub, "minji")
    await minji.enter_room()
    await asyncio.gather(*(minji.say(str(n)) for n in range(15)))
    await minji.some("chat:message", 15)
    assert minji.told("chat:message", "content") == [str(n) for n in range(15)]


async def test_what_was_said_meanwhile_comes_by_recovery(
    hub: Running, other: Running, come: Come
) -> None:
    """Once and in order, on another node; what was taken back meanwhile is told, too."""
    minji, jiho = await come(hub, "minji", recovery=True), await come(other, "jiho", "admin")
    for one in (minji, jiho):
        await one.enter_room()
    await jiho.say("heard")
    await minji.next("chat:message")
    (member,) = (one for one in hub.door.node.guests.values() if guest_of(one).user_id == "minji")
    session = guest_of(member).session
    assert session is not None
    offset = next(args[1] for name, args in minji.heard if name == "chat:message")
    hub.door.node.server.cut(member)
    await minji.next("(disconnect)")
    missed = [await jiho.say(text) for text in ("one", "two")]
    await jiho.ask("chat:delete-message", messageId=missed[0]["messageId"])
    back = await come(other, "minji", recovery=True, pid=session.pid, offset=offset)
    await jiho.say("after")
    await back.some("chat:message", 3)
    words = ("chat:message", "chat:message-deleted")
    told = [(name, args[0].get("content")) for name, args in back.heard if name in words]
    assert told == [
        ("chat:message", "one"),
        ("chat:message", "two"),
        ("chat:message-deleted", None),
        ("chat:message", "after"),
    ]


async def test_twenty_in_ten_seconds_over_nodes_and_rooms(
    hub: Running, other: Running, come: Come
) -> None:
    sockets = [await come(node, "minji") for node in (hub, other, other)]
    for number, one in enumerate(sockets):
        await one.enter_room(roomId=f"r{number}")

    async def burst(number: int, one: Talker) -> list[Any]:
        sent = (one.say(f"{number} {n}", roomId=f"r{number}") for n in range(14))
        return await asyncio.gather(*sent)

    bursts = await asyncio.gather(*(burst(number, one) for number, one in enumerate(sockets)))
    answers = [answer for burst in bursts for answer in burst]
    refused = [answer["error"] for answer in answers if not answer["ok"]]
    assert len(answers) - len(refused) == 20
    assert {one["code"] for one in refused} == {"RATE_LIMITED"}
    assert all(0 < one["retryAfterMs"] <= 10_000 for one in refused)
    assert await hub.domain.pool.fetchval("SELECT count(*) FROM room_messages") == 20
    assert (await sockets[0].enter_room())["ok"], "chat has a limit of its own"


@pytest.mark.parametrize(
    ("event", "data", "expected"),
    [
        ("chat:send-message", {"content": "", "clientMessageId": "c"}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": "x" * 1001, "clientMessageId": "c"}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": "a\x00b", "clientMessageId": "c"}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": "a\x1bb", "clientMessageId": "c"}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": "x", "clientMessageId": ""}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": "x", "clientMessageId": "a\nb"}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": "x"}, "INVALID_PAYLOAD"),
        ("chat:send-message", {"content": 7, "clientMessageId": "c"}, "INVALID_PAYLOAD"),
        (
            "chat:send-message",
            {"roomId": "not joined", "content": "x", "clientMessageId": "c"},
            "FORBIDDEN",
        ),
        ("chat:join-room", {"roomId": ""}, "INVALID_PAYLOAD"),
        ("chat:join-room", {"roomId": "가" * 60}, "INVALID_PAYLOAD"),
        ("chat:join-room", {"roomId": "x", "more": 1}, "INVALID_PAYLOAD"),
        ("chat:delete-message", {"messageId": str(uuid4())}, "FORBIDDEN"),
        ("chat:ban", {"userId": "jiho", "minutes": 5}, "FORBIDDEN"),
        ("question:join", {"questionId": "q"}, "INVALID_PAYLOAD"),
    ],
)
async def test_what_is_refused(
    hub: Running, come: Come, event: str, data: dict[str, Any], expected: str
) -> None:
    minji = await come(hub, "minji")
    await minji.enter_room()
    assert code(await minji.ask(event, **data)) == expected
    assert await hub.domain.pool.fetchval("SELECT count(*) FROM room_messages") == 0


@pytest.mark.parametrize("name", [name for space, name in CLIENT_EVENTS if space == CHAT])
async def test_no_event_takes_bytes(hub: Running, come: Come, name: str) -> None:
    minji = await come(hub, "minji", "admin")
    form = CLIENT_EVENTS[CHAT, name].payload
    filled = dict.fromkeys(form.__struct_encode_fields__, b"0123456789abcdef")
    payloads: list[Any] = [b"x", {"roomId": b"x"}, {"roomId": [b"x"]}, filled, {}, None, "x", []]
    for payload in payloads:
        answer = await minji.sio.call(name, payload, namespace=CHAT, timeout=10)
        assert code(answer) == "INVALID_PAYLOAD", payload


async def test_half_a_character_is_refused(hub: Running, come: Come) -> None:
    """As JSON writes it, since no Python client sends one by itself."""
    minji = await come(hub, "minji")
    await minji.enter_room()
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    number = minji.sio._generate_ack_id("/chat", answered.set_result)
    body = '["chat:send-message",{"roomId":"lobby","content":"\\ud800","clientMessageId":"c"}]'
    await minji.sio.eio.ws.send_str(f"42/chat,{number}{body}")
    assert code(await asyncio.wait_for(answered, 10)) == "INVALID_PAYLOAD"


async def test_an_admin_takes_a_message_back(hub: Running, other: Running, come: Come) -> None:
    minji, jiho = await come(hub, "minji"), await come(other, "jiho")
    admin = await come(other, "root", "admin")
    for one in (minji, jiho, admin):
        await one.enter_room()
    said = await minji.say("욕설")
    kept = await minji.say("fine")
    word = {"messageId": said["messageId"]}
    assert await admin.ask("chat:delete-message", **word) == {"ok": True}
    for one in (minji, jiho):
        gone = await one.next("chat:message-deleted")
        assert set(gone) == {"id", "messageId", "roomId", "deletedBy", "deletedAt"}
        assert (gone["messageId"], gone["deletedBy"]) == (said["messageId"], "root")
    assert await admin.ask("chat:delete-message", **word) == {"ok": True}, "again does nothing"
    recent = (await jiho.enter_room())["recent"]
    assert [one["messageId"] for one in recent] == [kept["messageId"]]
    for unknown in (str(uuid4()), "no uuid"):
        assert code(await admin.ask("chat:delete-message", messageId=unknown)) == "NOT_FOUND"
    elsewhere = {"roomId": "other", "messageId": kept["messageId"]}
    assert code(await admin.ask("chat:delete-message", **elsewhere)) == "NOT_FOUND"
    assert minji.told("chat:message-deleted", "messageId") == [said["messageId"]]


async def test_who_comes_and_goes_is_told_in_a_small_room(
    hub: Running, other: Running, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    minji, jiho = await come(hub, "minji"), await come(other, "jiho")
    second = await come(hub, "jiho")
    await minji.enter_room()
    for one in (jiho, second):
        await one.enter_room()
    heard = await minji.next("chat:user-joined", lambda one: one["userId"] == "jiho")
    assert {**heard, "id": ""} == {"id": "", "roomId": "lobby", "userId": "jiho", "online": 2}
    await minji.next("presence:update", lambda one: one["count"] == 2)
    await jiho.ask("chat:leave-room")
    await second.close()
    left = await minji.next("chat:user-left")
    assert {**left, "id": ""} == {"id": "", "roomId": "lobby", "userId": "jiho", "online": 1}
    assert minji.told("chat:user-joined", "userId").count("jiho") == 1, "once a person"
    monkeypatch.setattr("hub.sockets.presence.SMALL_ROOM", 1)
    await jiho.enter_room()
    await jiho.say("here again")
    await minji.next("chat:message")
    assert minji.told("chat:user-joined", "userId").count("jiho") == 1, "the count alone is told"


@pytest.mark.parametrize("blocker", ["minji", "jiho"])
async def test_between_two_of_whom_one_blocks_the_other_nothing_passes(
    hub: Running, other: Running, come: Come, blocker: str
) -> None:
    minji, jiho, haru = [
        await come(*who) for who in ((hub, "minji"), (other, "jiho"), (other, "haru"))
    ]
    for one in (minji, haru):
        await one.enter_room()
    await jiho.enter_room(roomId="first")  # makes the row that a block names
    async with hub.domain.outbox.change() as change:
        blocked = "jiho" if blocker == "minji" else "minji"
        await blocks.block(hub.domain, change, blocker, blocked)
    mine, theirs = await minji.say("from minji"), await haru.say("from haru")
    recent = (await jiho.enter_room())["recent"]
    assert [one["messageId"] for one in recent] == [theirs["messageId"]]
    hers = await jiho.say("from jiho")
    assert (await haru.next("chat:user-joined", lambda one: one["userId"] == "jiho"))["online"] == 3
    assert (await haru.say("end"))["ok"]
    for one in (minji, jiho, haru):
        await one.next("chat:message", lambda said: said["content"] == "end")
    assert hers["messageId"] not in minji.told("chat:message", "messageId")
    assert {mine["messageId"], hers["messageId"]} < set(haru.told("chat:message", "messageId"))
    await jiho.ask("chat:leave-room")
    await haru.next("chat:user-left")
    assert "jiho" not in [
        *minji.told("chat:user-joined", "userId"),
        *minji.told("chat:user-left", "userId"),
    ]


async def test_chat_needs_a_token(hub: Running) -> None:
    stranger = Talker()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stranger.come(hub, "minji", token="forged")
    await stranger.close()


async def test_whoever_left_is_told_nothing_more(hub: Running, come: Come) -> None:
    minji, jiho = await come(hub, "minji"), await come(hub, "jiho")
    for one in (minji, jiho):
        await one.enter_room()
    assert await jiho.ask("chat:leave-room") == {"ok": True}
    assert code(await jiho.say("still here?")) == "FORBIDDEN"
    await minji.say("one")
    await minji.next("chat:message")
    assert "chat:message" not in jiho.names()
    (member,) = (one for one in hub.door.node.guests.values() if guest_of(one).user_id == "jiho")
    assert ROOM not in member.room_names
    assert await hub.domain.pool.fetchval("SELECT count(*) FROM room_memberships") == 1
