"""What other services do over REST: events, broadcasts; and devices and places of people."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from hub.domain.people import sessions
from hub.domain.people.devices import DEVICES_MAX
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.api.conftest import JEJU, PREFIX, Door, Reply

EVENTS = f"{PREFIX}/events"
BROWSER_KEYS = {  # those of RFC 8291's own example
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcx"
    "aOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}


def event(event_type: str, payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "eventId": str(uuid4()),
        "eventType": event_type,
        "occurredAt": now,
        "payload": payload,
    } | changes


async def publish(door: Door, body: Any) -> Reply:
    return await door.call("POST", EVENTS, body, as_=door.key)


GOOD = {"userId": "minji"}
BAD_EVENTS = {
    "unknown type": event("user.promoted", GOOD),
    "outgoing type": event("points.credited", GOOD),
    "no payload field": event("user.registered", {}),
    "payload of a wrong type": event("user.registered", {"userId": 7}),
    "no uuid": event("user.registered", GOOD, eventId="7"),
    "no time zone": event("user.registered", GOOD, occurredAt="2026-01-01T00:00:00"),
    "from the future": event(
        "user.registered", GOOD, occurredAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat()
    ),
    "naive time inside": event(
        "answer.created",
        {"answerId": "a", "questionId": "q", "answererId": "x", "questionerId": "y",
         "createdAt": "2026-01-01T00:00:00"},
    ),
    "place out of range": event(
        "question.created", {"questionId": "q", "userId": "u", "location": {"lat": 99, "lng": 0}}
    ),
    "empty list": [],
    "good and bad": [event("user.registered", GOOD), event("user.promoted", GOOD)],
}  # fmt: skip


@pytest.mark.parametrize("body", BAD_EVENTS.values(), ids=BAD_EVENTS.keys())
async def test_bad_events_are_refused_whole(door: Door, body: Any) -> None:
    reply = await publish(door, body)
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
    assert await door.count("inbox_events") == await door.count("users") == 0


async def test_a_key_publishes_only_its_types(door: Door) -> None:
    key = await sessions.add_service(door.domain, "users", event_types=("user.registered",))
    body = [event("user.registered", GOOD), event("question.closed", {"questionId": "q"})]
    reply = await door.call("POST", EVENTS, body, as_=key)
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert await door.count("inbox_events") == 0


async def test_an_event_that_cannot_be_applied_yet_is_kept_for_the_worker(door: Door) -> None:
    early = event(
        "answer.accepted",
        {"answerId": "a1", "questionId": "q1", "answererId": "x", "questionerId": "y"},
    )
    assert (await publish(door, early)).body == {"accepted": 1, "duplicates": 0}
    row = await door.domain.pool.fetchrow("SELECT processed_at, error FROM inbox_events")
    assert row is not None
    assert row["processed_at"] is None
    assert row["error"].startswith("NOT_FOUND")
    assert await door.count("pgqueuer", "entrypoint = 'event'") == 1


async def test_registration_welcomes_once(door: Door) -> None:
    for _ in range(2):
        await publish(door, event("user.registered", GOOD | {"email": "minji@example.com"}))
    assert await door.count("notifications", "kind = 'welcome'") == 1


async def broadcast(door: Door, room: str, name: str = "sale", key: str | None = None) -> Reply:
    path = f"{PREFIX}/rooms/{quote(room)}/broadcasts"
    return await door.call("POST", path, {"event": name, "data": {"n": 1}}, as_=key or door.key)


@pytest.mark.parametrize(
    ("room", "name", "status"),
    [
        ("stream:shop", "live:product:soldout", 202),
        ("neighbourhood:ido2", "sale", 202),
        ("chat:lobby", "notice", 202),
        ("tag:x", "live:product:soldout", 403),
        ("stream:shop", "question:urgent", 403),
        ("cell:8830e1d8a1fffff", "sale", 403),
        ("mute:ido2", "sale", 403),
        ("lobby", "sale", 400),
        ("tag:" + "x" * 125, "sale", 400),
        ("tag:\x07", "sale", 400),
        ("tag:a\nb", "sale", 400),
        ("tag:a\u2028b", "sale", 400),
        pytest.param("stream:👨‍👩‍👧‍👦", "sale", 202, marks=pytest.mark.fault(23)),
        pytest.param("tag:می‌خواهم", "sale", 202, marks=pytest.mark.fault(23)),
        ("tag:x", "No Such Name", 400),
    ],
)
async def test_broadcasts_go_where_they_may(door: Door, room: str, name: str, status: int) -> None:
    assert (await broadcast(door, room, name)).status == status
    assert await door.count("broadcasts") == (1 if status == 202 else 0)


async def test_a_key_has_its_prefixes(door: Door) -> None:
    key = await sessions.add_service(door.domain, "shop", room_prefixes=("stream:shop-",))
    assert (await broadcast(door, "stream:shop-1", key=key)).status == 202
    assert (await broadcast(door, "stream:other", key=key)).status == 403


async def test_an_admin_session_needs_its_own_scope(door: Door) -> None:
    narrow = await sessions.add_service(door.domain, "narrow", scopes=("auth:write",))
    path, admin = f"{PREFIX}/auth/sessions", {"userId": "root", "role": "admin"}
    assert (await door.call("POST", path, admin, as_=narrow)).status == 403
    given = await door.call("POST", path, admin | {"ttl": 60}, as_=door.key)
    assert (given.status, given.body["expiresIn"]) == (200, 60)
    long = await door.call("POST", path, {"userId": "minji", "ttl": 10**6}, as_=door.key)
    assert long.body["expiresIn"] == 900
    assert await door.count("users", "id = 'minji'") == 1


async def test_a_device_moves_to_who_registers_it(door: Door) -> None:
    path = f"{PREFIX}/devices"
    form = {"platform": "android", "token": "token-of-a-phone", "locale": "ko"}
    first = await door.call("POST", path, form, as_="minji")
    assert first.status == 200
    assert "token" not in first.body
    moved = await door.call("POST", path, form, as_="haru")
    assert moved.body["id"] == first.body["id"]
    assert (await door.call("GET", path, as_="minji")).body["items"] == []
    assert len((await door.call("GET", path, as_="haru")).body["items"]) == 1
    assert (await door.call("DELETE", f"{path}/{moved.body['id']}", as_="haru")).status == 204
    assert await door.count("devices") == 0


@pytest.mark.parametrize(
    "token",
    [
        "token",
        "{}",
        json.dumps(
            {"endpoint": "https://fcm.googleapis.com/x", "keys": {"p256dh": "", "auth": ""}}
        ),
        json.dumps({"endpoint": "https://evil.example/x", "keys": BROWSER_KEYS}),
        json.dumps({"endpoint": "http://fcm.googleapis.com/x", "keys": BROWSER_KEYS}),
        json.dumps({"endpoint": "https://127.0.0.1/x", "keys": BROWSER_KEYS}),
        json.dumps({"endpoint": "https://u:p@fcm.googleapis.com/x", "keys": BROWSER_KEYS}),
    ],
)
async def test_a_browser_registers_a_subscription_and_nothing_else(door: Door, token: str) -> None:
    right = json.dumps({"endpoint": "https://fcm.googleapis.com/x", "keys": BROWSER_KEYS})
    path = f"{PREFIX}/devices"
    refused = await door.call("POST", path, {"platform": "web", "token": token}, as_="asker")
    assert (refused.status, refused.code) == (400, "INVALID_PAYLOAD")
    assert "evil" not in str(refused.body)
    taken = await door.call("POST", path, {"platform": "web", "token": right}, as_="asker")
    assert taken.status == 200
    assert await door.count("devices") == 1


async def test_without_a_key_for_browsers_there_is_none_to_subscribe_with(door: Door) -> None:
    reply = await door.call("GET", f"{PREFIX}/push/web-key")
    assert (reply.status, reply.body) == (200, {"publicKey": None})


@pytest.mark.fault(30)
async def test_the_devices_of_a_person_have_a_cap(door: Door, record_property: Any) -> None:
    """Registered by the verb, as the route has a limit of ten a minute. Who registers again stays,
    who is disabled goes first, and nobody else's are touched."""

    async def add(user: str, n: int) -> None:
        form = DeviceRequest(platform="android", token=f"{user}-{n:040}")
        await verbs.add_device(door.domain, user, form)

    async def kept() -> set[int]:
        rows = await door.domain.pool.fetch("SELECT token FROM devices WHERE user_id = 'minji'")
        return {int(row["token"].rpartition("-")[2]) for row in rows}

    await add("haru", 0)
    for n in range(DEVICES_MAX):
        await add("minji", n)
    assert await kept() == set(range(20))
    await add("minji", 0)
    await add("minji", 20)
    assert await kept() == {0, *range(2, 21)}
    await door.domain.pool.execute(
        "UPDATE devices SET disabled_at = now() WHERE token LIKE 'minji%19'"
    )
    await add("minji", 21)
    assert await kept() == {0, *range(2, 19), 20, 21}
    await asyncio.gather(*(add("minji", 100 + n) for n in range(40)))
    assert len(await kept()) == DEVICES_MAX == 20
    assert min(await kept()) >= 100
    assert await door.count("devices", "user_id = 'haru'") == 1
    record_property("seen", f"{len(await kept())} of 62 devices of one person are kept")


async def test_a_position_is_kept_as_a_cell(door: Door) -> None:
    consent = event("user.updated", GOOD | {"locationConsentAt": datetime.now(UTC).isoformat()})
    await publish(door, consent)
    path = f"{PREFIX}/locations"
    here = await door.call("POST", path, JEJU, as_="minji")
    assert (here.status, here.body["regionCode"]) == (200, "jeju")
    assert here.body["neighbourhoodCode"] is not None
    assert await door.count("user_locations", "cell IS NOT NULL") == 1
    coarse = await door.call("POST", path, JEJU | {"accuracyM": 5000}, as_="minji")
    assert coarse.body["neighbourhoodCode"] is None
    assert await door.count("user_locations", "cell IS NULL") == 1
    assert (await door.call("DELETE", f"{path}/me", as_="minji")).status == 204
    assert await door.count("user_locations") == 0


async def test_regions_and_neighbourhoods_are_listed(door: Door) -> None:
    regions = (await door.call("GET", f"{PREFIX}/regions")).body["items"]
    assert {row["code"] for row in regions} >= {"jeju", "busan", "default"}
    of_jeju = await door.call("GET", f"{PREFIX}/neighbourhoods?region=jeju")
    assert len(of_jeju.body["items"]) == 43
    assert (await door.call("GET", f"{PREFIX}/neighbourhoods?region=busan")).body == {"items": []}


async def test_explain_is_for_admins_and_services_with_the_scope(door: Door) -> None:
    question = await door.ask(urgency="urgent", **JEJU)
    path = f"{PREFIX}/explain?userId=asker&questionId={question['id']}"
    admin = door.token("root", role="admin")
    for who in (admin, door.key):
        told = await door.call("GET", path, as_=who)
        assert (told.status, told.body["verdict"], told.body["reason"]) == (
            200,
            "suppressed",
            "asker",
        )
    without = await sessions.add_service(door.domain, "other", scopes=("events:write",))
    for who in ("asker", without):
        assert (await door.call("GET", path, as_=who)).status == 403
    neither = await door.call("GET", f"{PREFIX}/explain?userId=asker", as_=admin)
    assert (neither.status, neither.code) == (400, "INVALID_PAYLOAD")
    bad = await door.call("GET", f"{PREFIX}/explain?userId=a&eventId=x", as_=admin)
    assert bad.status == 400
