"""People over REST: profiles, preferences, and who may say what of whom."""

from typing import Any

import pytest

from hub.domain.people.sessions import add_service
from tests.api.conftest import JEJU, PREFIX, Door, Reply

DEFAULTS = {
    "pushEnabled": True,
    "emailEnabled": True,
    "kakaoEnabled": False,
    "urgentEnabled": True,
    "answerEnabled": True,
    "digestEnabled": True,
    "radiusM": 2000,
    "mutedNeighbourhoods": [],
    "followedHashtags": [],
    "quietFrom": None,
    "quietTo": None,
    "urgentInQuiet": False,
}


async def prefer(door: Door, **body: Any) -> Reply:
    return await door.call("PUT", f"{PREFIX}/users/minji/preferences", body, as_="minji")


async def profile(
    door: Door, who: str = "minji", *, body: dict[str, Any] | None = None, **fields: Any
) -> Reply:
    return await door.call("PUT", f"{PREFIX}/users/minji", fields | (body or {}), as_=who)


async def test_preferences_are_read_and_what_was_sent_changes(door: Door) -> None:
    path = f"{PREFIX}/users/minji/preferences"
    assert (await door.call("GET", path, as_="minji")).body == DEFAULTS
    reply = await prefer(
        door,
        pushEnabled=False,
        radiusM=500,
        mutedNeighbourhoods=["yeon", "yeon"],
        followedHashtags=["#약국", "ＣＡＦＥ"],
        quietFrom="22:00",
        quietTo="07:30",
    )
    changed = DEFAULTS | {
        "pushEnabled": False,
        "radiusM": 500,
        "mutedNeighbourhoods": ["yeon"],
        "followedHashtags": ["약국", "cafe"],
        "quietFrom": "22:00",
        "quietTo": "07:30",
    }
    assert reply.body == changed
    assert (await door.call("GET", path, as_="minji")).body == changed
    reply = await prefer(door, quietFrom=None, quietTo=None, mutedNeighbourhoods=[])
    assert reply.body["quietFrom"] is None
    assert reply.body["radiusM"] == 500
    assert (await door.call("GET", path, as_="jiho")).code == "FORBIDDEN"


@pytest.mark.parametrize(
    "body",
    [
        {"radiusM": 499},
        {"radiusM": 20_001},
        {"mutedNeighbourhoods": ["nowhere"]},
        {"mutedNeighbourhoods": [f"n{n}" for n in range(101)]},
        {"followedHashtags": [f"t{n}" for n in range(21)]},
        {"followedHashtags": ["x" * 51]},
        {"quietFrom": "22:00"},
        {"quietFrom": "22:00", "quietTo": "22:00"},
        {"quietFrom": "24:00", "quietTo": "07:00"},
        {"quietFrom": "22:00\n", "quietTo": "07:00"},
        {"pushEnabled": None},
        {"pushEnabled": "yes"},
        {"userId": "jiho"},
    ],
)
async def test_a_preference_out_of_its_bounds_is_refused(door: Door, body: dict[str, Any]) -> None:
    reply = await prefer(door, **body)
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
    path = f"{PREFIX}/users/minji/preferences"
    assert (await door.call("GET", path, as_="minji")).body == DEFAULTS


async def test_a_registered_person_has_the_defaults(door: Door) -> None:
    event = {
        "eventId": "0b0c5a0e-0f5b-4a0e-9c0e-0a0b0c0d0e0f",
        "eventType": "user.registered",
        "occurredAt": door.domain.now().isoformat(),
        "payload": {"userId": "minji", "email": "minji@example.org"},
    }
    assert (await door.call("POST", f"{PREFIX}/events", event, as_=door.key)).status == 202
    assert await door.count("notification_preferences", "user_id = 'minji'") == 1


async def test_a_profile_is_its_persons_and_what_was_checked_is_a_services(door: Door) -> None:
    mine = await profile(
        door, nickname="민지", locale="en-GB", timezone="Europe/Berlin", neighbourhoodCode="yeon"
    )
    assert mine.status == 200
    assert (mine.body["nickname"], mine.body["locale"], mine.body["timezone"]) == (
        "민지", "en-GB", "Europe/Berlin",
    )  # fmt: skip
    checked: dict[str, Any] = {
        "email": "minji@example.org",
        "isLocalVerified": True,
        "kakaoUserKey": "k-1",
    }
    for field, value in checked.items():
        body = {field: value}
        assert (await profile(door, body=body)).code == "FORBIDDEN"
        assert (await profile(door, door.key, body=body)).body[field] == value
    admin = door.token("boss", role="admin")
    assert (await profile(door, admin, email=None)).body["email"] is None
    read = await door.call("GET", f"{PREFIX}/users/minji", as_=door.key)
    assert read.body == (await door.call("GET", f"{PREFIX}/users/minji", as_="minji")).body
    assert read.body["kakaoUserKey"] == "k-1"
    assert read.body["neighbourhoodCode"] == "yeon"


@pytest.mark.refused
async def test_nobody_else_reads_or_writes_a_profile(door: Door) -> None:
    await profile(door, nickname="민지")
    assert (await profile(door, "jiho", nickname="지호")).code == "FORBIDDEN"
    assert (await door.call("GET", f"{PREFIX}/users/minji", as_="jiho")).code == "FORBIDDEN"
    assert (await door.call("GET", f"{PREFIX}/users/minji")).code == "UNAUTHENTICATED"
    reader = await add_service(door.domain, "reader", scopes=("users:read",))
    assert (await door.call("GET", f"{PREFIX}/users/minji", as_=reader)).status == 200
    assert (await profile(door, reader, nickname="x")).code == "FORBIDDEN"
    assert (await door.call("GET", f"{PREFIX}/users/nobody", as_=door.key)).code == "NOT_FOUND"


@pytest.mark.parametrize(
    "body",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"locale": "korean please"},
        {"nickname": ""},
        {"neighbourhoodCode": "nowhere"},
        {"email": "a@b, c@d"},
        {"locationConsent": None},
    ],
)
async def test_a_profile_out_of_its_form_is_refused(door: Door, body: dict[str, Any]) -> None:
    await profile(door, nickname="민지")
    assert (await profile(door, door.key, body=body)).code == "INVALID_PAYLOAD"


async def test_what_was_said_here_is_not_undone_by_an_older_event(door: Door) -> None:
    await profile(door, nickname="새 이름")
    event = {
        "eventId": "1b0c5a0e-0f5b-4a0e-9c0e-0a0b0c0d0e0f",
        "eventType": "user.updated",
        "occurredAt": "2026-01-01T00:00:00Z",
        "payload": {"userId": "minji", "nickname": "옛 이름"},
    }
    assert (await door.call("POST", f"{PREFIX}/events", event, as_=door.key)).status == 202
    read = await door.call("GET", f"{PREFIX}/users/minji", as_="minji")
    assert read.body["nickname"] == "새 이름"


async def test_without_consent_there_is_no_position(door: Door) -> None:
    at = f"{PREFIX}/locations"
    assert (await door.call("POST", at, JEJU, as_="minji")).code == "FORBIDDEN"
    assert (await profile(door, locationConsent=True)).body["locationConsent"] is True
    assert (await door.call("POST", at, JEJU, as_="minji")).status == 200
    assert await door.count("user_locations") == 1
    assert (await profile(door, locationConsent=False)).body["locationConsent"] is False
    assert await door.count("user_locations") == 0
    assert (await door.call("POST", at, JEJU, as_="minji")).code == "FORBIDDEN"


async def block(door: Door, who: str, other: str, method: str = "PUT") -> Reply:
    return await door.call(method, f"{PREFIX}/users/{other}/block", as_=who)


async def test_a_block_is_made_once_and_taken_back(door: Door) -> None:
    await profile(door, nickname="민지")
    for _ in range(2):
        assert (await block(door, "jiho", "minji")).status == 204
    assert await door.count("blocks") == 1
    for _ in range(2):
        assert (await block(door, "jiho", "minji", "DELETE")).status == 204
    assert await door.count("blocks") == 0


async def test_who_cannot_be_blocked(door: Door) -> None:
    await profile(door, nickname="민지")
    assert (await block(door, "minji", "nobody")).code == "NOT_FOUND"
    assert (await block(door, "minji", "minji")).code == "INVALID_PAYLOAD"
    await door.domain.pool.execute(
        "INSERT INTO users (id, nickname) SELECT 'u' || n, 'u' FROM generate_series(1, 501) n"
    )
    await door.domain.pool.execute(
        "INSERT INTO blocks SELECT 'minji', 'u' || n, now() FROM generate_series(1, 500) n"
    )
    assert (await block(door, "minji", "u501")).code == "CONFLICT"
    assert (await block(door, "minji", "u500")).status == 204
    assert await door.count("blocks") == 500
