"""Tokens for a part of a service: for a while, and for no more than its key may."""

from datetime import timedelta
from uuid import uuid4

import pytest

from hub.domain.people import sessions
from protocol.tokens import ServiceToken, sign_access, sign_service
from tests.api.conftest import PREFIX, Door
from tests.api.test_services import EVENTS, GOOD, event

ROOM = f"{PREFIX}/rooms/stream:live/presence"


def token(
    door: Door,
    client: str = "qa-service",
    *,
    scopes: set[str] | None = None,
    rooms: tuple[str, ...] | None = None,
    types: set[str] | None = None,
    jti: str | None = None,
    ttl_s: float = 60,
) -> str:
    may = ServiceToken(
        client,
        jti or str(uuid4()),
        None if scopes is None else frozenset(scopes),
        rooms,
        None if types is None else frozenset(types),
    )
    return sign_service(door.domain.tokens, may, now=door.domain.now(), ttl_s=ttl_s)


async def test_it_may_what_its_client_may_and_no_more(door: Door) -> None:
    small = await sessions.add_service(door.domain, "small", scopes=("events:write",))
    assert (await door.call("GET", ROOM, as_=small)).status == 403
    for one in (token(door, "small"), token(door, "small", scopes={"presence:read"})):
        assert (await door.call("GET", ROOM, as_=one)).status == 403
    assert (await door.call("GET", ROOM, as_=token(door))).status == 200
    assert (await door.call("GET", ROOM, as_=token(door, scopes={"presence:read"}))).status == 200
    assert (await door.call("GET", ROOM, as_=token(door, scopes={"events:write"}))).status == 403
    assert (await door.call("GET", ROOM, as_=token(door, scopes=set()))).status == 403


@pytest.mark.parametrize(
    ("key", "told", "allowed"),
    [
        ((""), ("stream:a",), {"stream:a"}),
        (("stream:"), ("stream:a",), {"stream:a"}),
        (("stream:a"), ("stream:",), {"stream:a"}),
        (("stream:a"), ("",), {"stream:a"}),
        (("stream:a"), ("stream:b",), set()),
        (("stream:a"), (), set()),
        (("stream:a"), None, {"stream:a"}),
    ],
)
async def test_of_two_prefixes_the_longer_one_holds(
    door: Door, key: str, told: tuple[str, ...] | None, allowed: set[str]
) -> None:
    await sessions.add_service(door.domain, "shop", room_prefixes=(key,))
    one = token(door, "shop", rooms=told)
    body = {"event": "room:broadcast", "data": {}}
    for room in ("stream:a", "stream:b"):
        reply = await door.call("POST", f"{PREFIX}/rooms/{room}/broadcasts", body, as_=one)
        assert reply.status == (202 if room in allowed else 403), (room, reply.body)


@pytest.mark.parametrize(
    ("key", "told", "status"),
    [
        (("*",), {"user.registered"}, 202),
        (("*",), {"user.deleted"}, 403),
        (("user.registered",), {"*"}, 202),
        (("user.deleted",), {"*"}, 403),
        (("user.deleted",), {"user.registered"}, 403),
    ],
)
async def test_it_publishes_what_both_may(
    door: Door, key: tuple[str, ...], told: set[str], status: int
) -> None:
    await sessions.add_service(door.domain, "users", event_types=key)
    one = token(door, "users", types=told)
    reply = await door.call("POST", EVENTS, event("user.registered", GOOD), as_=one)
    assert reply.status == status
    publisher = await door.domain.pool.fetchval("SELECT publisher FROM inbox_events")
    assert publisher == ("users" if status == 202 else None)


async def test_it_ends_with_its_time_its_number_and_its_client(door: Door) -> None:
    d = door.domain
    spent = token(door, ttl_s=-1)
    assert (await door.call("GET", ROOM, as_=spent)).code == "TOKEN_EXPIRED"
    listed = token(door, jti="lost")
    revoke = f"{PREFIX}/auth/revoke"
    assert (await door.call("POST", revoke, {"jti": "lost"}, as_=door.key)).status == 204
    assert (await door.call("GET", ROOM, as_=listed)).code == "TOKEN_REVOKED"
    good = token(door)
    assert (await door.call("GET", ROOM, as_=good)).status == 200
    await d.pool.execute("UPDATE service_clients SET disabled_at = now()")
    assert (await door.call("GET", ROOM, as_=good)).code == "UNAUTHENTICATED"


@pytest.mark.refused
async def test_nobody_elses_token_is_one(door: Door) -> None:
    """Of an unknown client, of another secret or issuer, before its time; and it is no person's."""
    d, now = door.domain, door.domain.now()
    assert (await door.call("GET", ROOM, as_=token(door, "nobody"))).code == "UNAUTHENTICATED"
    for keys in (
        type(d.tokens)(("x" * 40,), "hub"),
        type(d.tokens)(d.tokens.secrets, "elsewhere"),
    ):
        may = ServiceToken("qa-service", "j", None, None, None)
        forged = sign_service(keys, may, now=now, ttl_s=60)
        assert (await door.call("GET", ROOM, as_=forged)).code == "UNAUTHENTICATED"
    may = ServiceToken("qa-service", "j", None, None, None)
    early = sign_service(d.tokens, may, now=now + timedelta(hours=1), ttl_s=60)
    assert (await door.call("GET", ROOM, as_=early)).code == "UNAUTHENTICATED"
    assert (await door.call("GET", f"{PREFIX}/devices", as_=token(door))).status == 403
    person = sign_access(d.tokens, "qa-service", "user", now=now, ttl_s=60, jti="j")
    assert (await door.call("GET", ROOM, as_=person)).status == 403
