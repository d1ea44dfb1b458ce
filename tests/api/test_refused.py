"""Callers who are refused, and readiness, cost Postgres a query a second and not one a call."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from api.health import Vitals
from hub.domain import service_keys
from hub.domain.people import sessions
from hub.domain.service_keys import ServiceKeys
from hub.plumbing.http import health
from tests.api.conftest import PREFIX, Door

REGISTERED = {
    "eventId": "3f0c1f6e-6a5e-4a0e-9f0e-3f0c1f6e6a5e",
    "eventType": "user.registered",
    "occurredAt": "2026-01-01T00:00:00Z",
    "payload": {"userId": "minji"},
}


@pytest.fixture
def queries(door: Door, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the list of keys is read."""
    asked: list[str] = []
    read = ServiceKeys._read

    async def counted(keys: ServiceKeys) -> None:
        asked.append("list")
        await read(keys)

    monkeypatch.setattr(ServiceKeys, "_read", counted)
    return asked


@pytest.mark.fault(24)
@pytest.mark.parametrize("key", ["dk_nobody.{}", "dk_qa-service.{}", "dk_{}.secret"])
async def test_rubbish_keys_reach_postgres_once_a_second(
    door: Door, queries: list[str], key: str, record_property: Callable[[str, object], None]
) -> None:
    path = f"{PREFIX}/events"
    keys = [key.format(f"{number:032}") for number in range(60)]
    async with asyncio.timeout(5):
        replies = await asyncio.gather(
            *(door.call("POST", path, REGISTERED, as_=one + "x" * 40) for one in keys)
        )
    assert {(reply.status, reply.code) for reply in replies} == {(401, "UNAUTHENTICATED")}
    assert len(queries) <= 2
    record_property("seen", f"60 rubbish keys: {len(queries)} queries")
    assert (await door.call("POST", path, REGISTERED, as_=door.key)).status == 202


@pytest.mark.fault(24)
async def test_a_new_key_is_known_and_a_disabled_one_is_not(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_keys, "HOLD_S", 0.1)
    path = f"{PREFIX}/events"
    await door.call("POST", path, REGISTERED, as_="dk_rubbish." + "x" * 40)
    key = await sessions.add_service(door.domain, "fresh")
    assert (await door.call("POST", path, REGISTERED, as_=key)).status == 202
    renewed = await sessions.add_service(door.domain, "fresh")
    assert (await door.call("POST", path, REGISTERED, as_=key)).status == 401
    assert (await door.call("POST", path, REGISTERED, as_=renewed)).status == 202
    await door.domain.pool.execute("UPDATE service_clients SET disabled_at = now()")
    assert (await door.call("POST", path, REGISTERED, as_=renewed)).status == 401


@pytest.mark.fault(24)
async def test_readiness_holds_for_a_second(
    open_door: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """However many ask at once or one after the other; that the process leaves is told at once."""
    looks, works, leaving = 0, True, False

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.01)
        if not works:
            raise ConnectionError

    monkeypatch.setattr(health, "HOLD_S", 0.3)
    door = await open_door(Vitals(needed={"database": look}, leaving=lambda: leaving))
    replies = await asyncio.gather(*(door.call("GET", "/health/ready") for _ in range(50)))
    assert {reply.status for reply in replies} == {200}
    works = False
    assert (await door.call("GET", "/ready")).status == 200
    assert looks == 1
    record_property("seen", f"51 calls: {looks} look")
    async with asyncio.timeout(3):
        while (await door.call("GET", "/ready")).status != 503:
            await asyncio.sleep(0.01)
    assert looks == 2
    works, leaving = True, True
    assert (await door.call("GET", "/ready")).body["error"] == "shutting down"


@pytest.mark.fault(28)
@pytest.mark.parametrize("user_id", ["{}", "{userId}", "a{b}c", "}{", "%7B%7D", "bob/streaming"])
async def test_an_id_with_braces_finds_its_own_inbox(door: Door, user_id: str) -> None:
    notice = {"userId": user_id, "kind": "notice", "title": "t", "body": "b", "data": {}}
    assert (await door.call("POST", f"{PREFIX}/notifications", notice, as_=door.key)).status == 202
    for tail, field in (("", "items"), ("/unread-count", "count")):
        path = f"{PREFIX}/notifications/{quote(user_id, safe='')}{tail}"
        url = URL(door.url + path, encoded=True)
        headers = {"Authorization": f"Bearer {door.token(user_id)}"}
        async with door.http.get(url, headers=headers) as answer:
            body = await answer.json()
            assert answer.status == 200, body
            assert body[field]
    assert body["count"] == 1


BROKEN = ["a\nb", "a\rb", "a\tb", "a\x00b", "a\x1bb", "a\x7fb", "a\x85b", "a\u2028b", "a\n", "\n"]


@pytest.mark.fault(28)
@pytest.mark.parametrize("user_id", BROKEN)
async def test_ids_refuse_line_breaks_and_control_characters(door: Door, user_id: str) -> None:
    session = await door.call("POST", f"{PREFIX}/auth/sessions", {"userId": user_id}, as_=door.key)
    assert (session.status, session.code) == (400, "INVALID_PAYLOAD")
    event = {**REGISTERED, "payload": {"userId": user_id}}
    reply = await door.call("POST", f"{PREFIX}/events", event, as_=door.key)
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
    path = f"{PREFIX}/rooms/{quote('stream:' + user_id)}/broadcasts"
    room = await door.call("POST", path, {"event": "x", "data": {}}, as_=door.key)
    assert (room.status, room.code) == (400, "INVALID_PAYLOAD")


@pytest.mark.fault(3, 26)
@pytest.mark.parametrize("event", ["connect", "disconnect", "disconnecting", "*"])
async def test_reserved_names_are_refused_over_rest(door: Door, event: str) -> None:
    body = {"event": event, "data": {}}
    reply = await door.call("POST", f"{PREFIX}/rooms/stream:s/broadcasts", body, as_=door.key)
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
