"""The events of namespace /, from a stock client to the stores and back."""

from typing import Any

import pytest

from hub.domain.people import members
from hub.domain.questions.waves import broadcast_id
from hub.plumbing.settings.settings import Settings
from protocol.events import Emit
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.sockets.conftest import (
    JEJU,
    Connect,
    Running,
    running,
    settle_in,
    with_figures,
)

SEOGWIPO = (33.253, 126.560)


def urgent(place: tuple[float, float] = JEJU) -> Ask:
    text = "Is a pharmacy open?"
    return Ask(title=text, content=text, urgency="urgent", lat=place[0], lng=place[1])


async def consent(hub: Running, user_id: str) -> None:
    async with hub.domain.pool.acquire() as conn:
        await members.ensure(hub.domain, conn, user_id)
        await conn.execute("UPDATE users SET location_consent_at = now() WHERE id = $1", user_id)


async def mute(hub: Running, user_id: str, code: str) -> None:
    await hub.domain.pool.execute(
        "UPDATE notification_preferences SET muted_neighbourhoods = $2 WHERE user_id = $1",
        user_id,
        [code],
    )


def is_about(question_id: str) -> Any:
    return lambda alert: alert["questionId"] == question_id


async def test_a_position_needs_consent(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji")
    answer = await client.call("location:update", {"lat": JEJU[0], "lng": JEJU[1]})
    assert answer["error"]["code"] == "FORBIDDEN"


async def test_a_moved_socket_hears_its_cell_and_no_other(hub: Running, connect: Connect) -> None:
    await consent(hub, "minji")
    client = await connect(hub, "minji")
    answer = await client.call("location:update", {"lat": JEJU[0], "lng": JEJU[1]})
    assert answer["ok"] is True
    assert answer["regionCode"] == "jeju"
    assert "region:jeju" in answer["rooms"]
    assert not [room for room in answer["rooms"] if room.startswith(("cell:", "mute:"))]
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    await client.next("question:urgent", is_about(asked.id))
    await client.call("location:update", {"lat": SEOGWIPO[0], "lng": SEOGWIPO[1]})
    far = await verbs.ask(hub.domain, "other", urgent(JEJU))
    near = await verbs.ask(hub.domain, "third", urgent(SEOGWIPO))
    await client.next("question:urgent", is_about(near.id))
    heard = [args[0]["questionId"] for name, args in client.heard if name == "question:urgent"]
    assert far.id not in heard


async def test_a_move_elsewhere_takes_the_sockets_of_all_nodes_along(
    hub: Running, settings: Settings, connect: Connect
) -> None:
    async with running(settings) as other:
        clients = [await connect(hub, "minji"), await connect(other, "minji")]
        asked = await verbs.ask(hub.domain, "traveller", urgent())
        await settle_in(hub, "minji")
        for client in clients:  # an open question is told to who enters its cell later
            alert = await client.next("question:urgent", is_about(asked.id))
            assert alert["id"] == broadcast_id(asked.id, 1)
        later = await verbs.ask(other.domain, "second", urgent())
        for client in clients:
            await client.next("question:urgent", is_about(later.id))


async def test_who_connects_is_told_the_open_questions_of_the_cell(
    hub: Running, connect: Connect
) -> None:
    await settle_in(hub, "minji")
    await settle_in(hub, "traveller")
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    client = await connect(hub, "minji")
    alert = await client.next("question:urgent")
    assert alert["id"] == broadcast_id(asked.id, 1)
    assert "deadlineAt" in alert
    assert client.names() == ["ready", "question:urgent"]
    asker = await connect(hub, "traveller")
    await asker.call("inbox:sync", {})
    assert "question:urgent" not in asker.names()


async def test_who_muted_the_neighbourhood_is_left_alone(hub: Running, connect: Connect) -> None:
    await settle_in(hub, "minji")
    await settle_in(hub, "jiho")
    code = hub.domain.atlas.neighbourhood_of(*JEJU)
    assert code is not None
    await mute(hub, "minji", code)
    muted, other = await connect(hub, "minji"), await connect(hub, "jiho")
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    await other.next("question:urgent", is_about(asked.id))
    await muted.call("inbox:sync", {})
    again = await connect(hub, "minji")
    await again.call("inbox:sync", {})
    assert "question:urgent" not in (*muted.names(), *again.names())


async def test_joining_a_neighbourhood(hub: Running, connect: Connect) -> None:
    code = hub.domain.atlas.neighbourhood_of(*JEJU)
    assert code is not None
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    others = [await connect(hub, f"person-{number}") for number in range(6)]
    for client in others[:3]:
        answer = await client.call("neighbourhood:join", {"code": code})
        assert answer["online"] == 0
    for client in others[3:]:
        answer = await client.call("neighbourhood:join", {"code": code})
    assert answer["ok"] is True
    assert answer["room"] == f"neighbourhood:{code}"
    assert answer["online"] == 5
    assert [card["questionId"] for card in answer["recent"]] == [asked.id]
    plain = Ask(title="A", content="B", lat=JEJU[0], lng=JEJU[1])
    created = await verbs.ask(hub.domain, "jiho", plain)
    await others[0].next("question:created", is_about(created.id))
    assert (await others[0].call("neighbourhood:leave", {"code": code}))["ok"] is True
    second = await verbs.ask(hub.domain, "jiho", plain)
    await others[1].next("question:created", is_about(second.id))
    heard = [args[0]["questionId"] for name, args in others[0].heard if name == "question:created"]
    assert heard == [created.id]


async def test_limits_of_rooms(settings: Settings, connect: Connect) -> None:
    async with running(with_figures(settings, max_rooms=6)) as hub:
        client = await connect(hub, "minji")
        codes = [spot.code for spot in hub.domain.atlas.neighbourhoods[:6]]
        answers_ = [await client.call("neighbourhood:join", {"code": code}) for code in codes]
        assert [answer["ok"] for answer in answers_] == [True] * 5 + [False]
        assert answers_[5]["error"]["code"] == "ROOM_LIMIT"
        again = await client.call("neighbourhood:join", {"code": codes[0]})
        assert again["ok"] is True
        nowhere = await client.call("neighbourhood:join", {"code": "atlantis"})
        assert nowhere["error"]["code"] == "NOT_FOUND"
        asked = [
            (await verbs.ask(hub.domain, "jiho", Ask(title="A", content="B"))).id for _ in range(2)
        ]
        first, second = [await client.call("question:join", {"questionId": id}) for id in asked]
        assert first["ok"] is True
        assert second["error"]["code"] == "ROOM_LIMIT"
        assert (await client.call("question:leave", {"questionId": asked[0]}))["ok"] is True
        assert (await client.call("question:join", {"questionId": asked[1]}))["ok"] is True


async def test_joining_a_question(hub: Running, connect: Connect) -> None:
    asked = await verbs.ask(hub.domain, "traveller", Ask(title="A", content="B"))
    client = await connect(hub, "minji")
    answer = await client.call("question:join", {"questionId": asked.id})
    assert answer == {"ok": True, "room": f"question:{asked.id}", "answers": 0}
    given = await verbs.answer(hub.domain, "jiho", asked.id, "Yes")
    told = await client.next("answer:created")
    assert told["answerId"] == given.id
    answer = await client.call("question:join", {"questionId": "nobody-asked"})
    assert answer["error"]["code"] == "NOT_FOUND"


async def test_the_inbox_on_two_devices(hub: Running, connect: Connect) -> None:
    asked = await verbs.ask(hub.domain, "traveller", Ask(title="A", content="B"))
    phone = await connect(hub, "traveller")
    laptop = await connect(hub, "traveller")
    await verbs.answer(hub.domain, "jiho", asked.id, "Yes")
    for device in (phone, laptop):
        assert (await device.next("inbox:unread"))["count"] == 1
    page = await phone.call("inbox:sync", {"after": 0})
    (item,) = page["items"]
    assert page["unread"] == 1
    assert page["reset"] is False
    assert await phone.call("notification:ack", {"ids": [item["id"]]}) == {"ok": True, "count": 1}
    seen = await phone.call("notification:seen", {"ids": [item["id"]]})
    assert seen == {"ok": True, "unread": 1}
    read = await phone.call("notification:read", {"all": True})
    assert read == {"ok": True, "unread": 0}
    updated = await laptop.next("notification:updated", lambda one: one["state"] == "read")
    assert updated["ids"] == [item["id"]]
    await laptop.next("inbox:unread", lambda one: one["count"] == 0)
    empty = await laptop.call("inbox:sync", {"after": updated["seq"]})
    assert empty["items"] == []


@pytest.mark.fault(23)
async def test_a_stream_may_be_called_by_an_emoji_of_several(
    hub: Running, connect: Connect
) -> None:
    key = "👨‍👩‍👧‍👦 가족"
    client = await connect(hub, "minji")
    joined = await client.call("join:stream", {"streamKey": key})
    assert (joined["ok"], joined["room"]) == (True, f"stream:{key}")
    emit = Emit(id="e1", event="news", rooms=(f"stream:{key}",), data={"id": "e1"})
    await hub.domain.outbox._publish([emit])
    assert (await client.next("news"))["id"] == "e1"
    refused = await client.call("join:stream", {"streamKey": "a\u2028b"})
    assert refused["error"]["code"] == "INVALID_PAYLOAD"
