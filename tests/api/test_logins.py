"""Logins over REST: refreshed, stolen, ended, revoked; by token and by cookie."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.rest.sessions import CSRF_HEADER
from protocol.tokens import csrf_token, hash_secret, read_access, read_refresh
from tests.api.conftest import PREFIX, Door, Reply

AUTH = f"{PREFIX}/auth"


async def login(door: Door, user_id: str = "mina", **more: Any) -> dict[str, Any]:
    reply = await door.call(
        "POST", f"{AUTH}/sessions", {"userId": user_id, "role": "user", **more}, as_=door.key
    )
    assert reply.status == 200, reply.body
    assert isinstance(reply.body, dict)
    return reply.body


async def refresh(door: Door, token: str | None = None, **options: Any) -> Reply:
    body = {} if token is None else {"refreshToken": token}
    return await door.call("POST", f"{AUTH}/refresh", body | options.pop("more", {}), **options)


async def is_in(door: Door, access: str) -> bool:
    reply = await door.call("POST", f"{PREFIX}/notifications/acks", {"ids": []}, as_=access)
    assert reply.status == 200 or reply.code == "TOKEN_REVOKED"
    return reply.status == 200


async def test_a_refresh_token_is_worth_one_pair(door: Door) -> None:
    first = await login(door, role="admin")
    reply = await refresh(door, first["refreshToken"])
    assert reply.status == 200
    assert set(reply.body) == {"accessToken", "refreshToken", "expiresIn"}
    keys, now = door.domain.tokens, door.domain.now()
    old = read_access(keys, first["accessToken"], now=now)
    new = read_access(keys, reply.body["accessToken"], now=now)
    assert (new.user_id, new.role) == ("mina", "admin")
    assert new.jti != old.jti
    assert await is_in(door, reply.body["accessToken"])
    rotated = await refresh(door, reply.body["refreshToken"])
    assert rotated.status == 200


async def test_only_the_hash_of_a_refresh_token_is_kept(door: Door) -> None:
    pair = await login(door)
    text = pair["refreshToken"]
    row = await door.domain.pool.fetchrow("SELECT * FROM refresh_tokens")
    assert row is not None
    assert row["token_hash"] == hash_secret(text)
    assert text not in str(dict(row))
    lives = row["expires_at"] - row["issued_at"]
    assert lives == timedelta(seconds=door.domain.policy.refresh_ttl_s)


@pytest.mark.fault(17)
async def test_a_stolen_refresh_token_ends_its_login(door: Door) -> None:
    """Whoever of thief and robbed comes second: all that came of the login is worth nothing."""
    first = await login(door)
    other = await login(door)
    robbed = (await refresh(door, first["refreshToken"])).body
    newest = (await refresh(door, robbed["refreshToken"])).body
    stolen = await refresh(door, first["refreshToken"])
    assert (stolen.status, stolen.code) == (401, "TOKEN_REVOKED")
    for pair in (first, robbed, newest):
        assert (await refresh(door, pair["refreshToken"])).code == "TOKEN_REVOKED"
        assert not await is_in(door, pair["accessToken"])
    assert await is_in(door, other["accessToken"])
    assert (await refresh(door, other["refreshToken"])).status == 200


async def test_of_two_at_once_one_wins_and_the_login_ends(door: Door) -> None:
    pair = await login(door)
    replies = await asyncio.gather(*(refresh(door, pair["refreshToken"]) for _ in range(4)))
    assert sorted(reply.status for reply in replies) == [200, 401, 401, 401]
    won = next(reply for reply in replies if reply.status == 200)
    assert (await refresh(door, won.body["refreshToken"])).code == "TOKEN_REVOKED"


async def test_what_is_no_refresh_token_is_refused_and_counted_by_address(door: Door) -> None:
    pair = await login(door)
    keys, now = door.domain.tokens, door.domain.now()
    forged = pair["refreshToken"][:-6] + "AAAAAA"
    for text in ("", "x", pair["accessToken"], forged, pair["refreshToken"] + "x"):
        assert (await refresh(door, text)).code == "UNAUTHENTICATED"
    assert (await refresh(door)).code == "UNAUTHENTICATED"
    known = read_refresh(keys, pair["refreshToken"], now=now)
    await door.domain.pool.execute("DELETE FROM refresh_tokens WHERE jti = $1", known.jti)
    assert (await refresh(door, pair["refreshToken"])).code == "UNAUTHENTICATED"
    codes = [(await refresh(door, "x")).code for _ in range(30)]
    assert codes.count("UNAUTHENTICATED") == 24  # of 30 a minute
    assert codes[-1] == "RATE_LIMITED"
    assert (await refresh(door, (await login(door))["refreshToken"])).status == 200


async def test_a_login_is_refreshed_ten_times_a_minute(door: Door) -> None:
    token = (await login(door))["refreshToken"]
    for _ in range(10):
        reply = await refresh(door, token)
        assert reply.status == 200
        token = reply.body["refreshToken"]
    late = await refresh(door, token)
    assert (late.code, late.headers["X-RateLimit-Limit"]) == ("RATE_LIMITED", "10")
    assert (await refresh(door, (await login(door))["refreshToken"])).status == 200


async def test_an_old_access_token_beside_it_does_no_harm(door: Door) -> None:
    pair = await login(door)
    expired = door.token("mina", ttl_s=-1)
    assert (await refresh(door, pair["refreshToken"], as_=expired)).status == 200


# --- the cookie ----------------------------------------------------------------------------------

PAGE = "https://app.example"


async def with_cookie(open_door: Any, **changes: Any) -> tuple[Door, dict[str, str], str]:
    """A page's door, its cookie and Origin as headers, and its csrfToken."""
    door = await open_door(cors_origins=(PAGE,), **changes)
    pair = await login(door)
    reply = await refresh(
        door, pair["refreshToken"], more={"cookie": True}, headers={"Origin": PAGE}
    )
    assert reply.status == 200
    assert set(reply.body) == {"accessToken", "expiresIn", "csrfToken"}
    return door, {"Origin": PAGE, "Cookie": cookie_of(reply)}, reply.body["csrfToken"]


def cookie_of(reply: Reply) -> str:
    told = reply.headers["Set-Cookie"]
    assert set(told.split("; ")[1:]) >= {"HttpOnly", "Secure", "SameSite=Lax", f"Path={AUTH}"}
    return str(told.split(";")[0])


async def test_the_cookie_is_refreshed_with_the_pages_word(open_door: Any) -> None:
    door, headers, proof = await with_cookie(open_door)
    reply = await refresh(door, headers=headers | {CSRF_HEADER: proof})
    assert reply.status == 200
    assert reply.body["csrfToken"] == proof
    assert "refreshToken" not in reply.body
    assert cookie_of(reply) != headers["Cookie"]
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.fault(17)
async def test_without_the_pages_word_the_cookie_is_worth_nothing(open_door: Any) -> None:
    door, headers, proof = await with_cookie(open_door)
    other = csrf_token(door.domain.tokens, uuid4())
    no_origin = {"Cookie": headers["Cookie"], CSRF_HEADER: proof}
    evil = headers | {"Origin": "https://evil.example", CSRF_HEADER: proof}
    for bad in (headers, headers | {CSRF_HEADER: other}, no_origin, evil):
        reply = await refresh(door, headers=bad)
        assert (reply.status, reply.code) == (403, "FORBIDDEN")
        assert "Set-Cookie" not in reply.headers
    assert (await refresh(door, headers=headers | {CSRF_HEADER: proof})).status == 200


async def test_development_may_do_without(open_door: Any) -> None:
    door, headers, _ = await with_cookie(open_door, csrf_enabled=False)
    assert (await refresh(door, headers={"Cookie": headers["Cookie"]})).status == 200


async def test_a_preflight_allows_the_header(open_door: Any) -> None:
    door = await open_door(cors_origins=(PAGE,))
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    reply = await door.call("OPTIONS", f"{AUTH}/refresh", headers=headers)
    assert CSRF_HEADER in reply.headers["Access-Control-Allow-Headers"]
    elsewhere = await door.call("OPTIONS", f"{PREFIX}/devices", headers=headers)
    assert "Access-Control-Allow-Credentials" not in elsewhere.headers


# --- ended ---------------------------------------------------------------------------------------


async def test_logging_out_ends_this_login_and_no_other(door: Door) -> None:
    pair, other = await login(door), await login(door)
    device = await door.call(
        "POST", f"{PREFIX}/devices", {"platform": "android", "token": "t" * 40}, as_="mina"
    )
    reply = await door.call(
        "POST", f"{AUTH}/logout", {"deviceId": device.body["id"]}, as_=pair["accessToken"]
    )
    assert reply.status == 204
    assert not await is_in(door, pair["accessToken"])
    assert (await refresh(door, pair["refreshToken"])).code == "TOKEN_REVOKED"
    assert await is_in(door, other["accessToken"])
    assert await door.count("devices", "disabled_reason = 'logout'") == 1
    again = await door.call("POST", f"{AUTH}/logout", {}, as_=pair["accessToken"])
    assert again.code == "TOKEN_REVOKED"


async def test_logging_out_by_cookie_takes_the_cookie_away(open_door: Any) -> None:
    door, headers, proof = await with_cookie(open_door)
    reply = await refresh(door, headers=headers | {CSRF_HEADER: proof})
    headers["Cookie"] = cookie_of(reply)
    access = reply.body["accessToken"]
    out = await door.call("POST", f"{AUTH}/logout", {}, as_=access, headers=headers)
    assert out.status == 204
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    gone = await refresh(door, headers=headers | {CSRF_HEADER: proof})
    assert gone.code == "TOKEN_REVOKED"


async def test_nobody_logs_somebody_else_out(door: Door) -> None:
    mine, theirs = await login(door), await login(door, "jiho")
    body = {"refreshToken": theirs["refreshToken"]}
    reply = await door.call("POST", f"{AUTH}/logout", body, as_=mine["accessToken"])
    assert reply.code == "FORBIDDEN"
    assert await is_in(door, mine["accessToken"])
    assert (await refresh(door, theirs["refreshToken"])).status == 200


async def test_a_person_is_revoked_with_all_their_logins(door: Door) -> None:
    pairs = [await login(door) for _ in range(2)]
    refreshed = (await refresh(door, pairs[0]["refreshToken"])).body
    stranger = await login(door, "jiho")
    reply = await door.call("POST", f"{AUTH}/revoke", {"userId": "mina"}, as_=door.key)
    assert reply.status == 204
    for pair in (pairs[1], refreshed):
        assert (await refresh(door, pair["refreshToken"])).code == "TOKEN_REVOKED"
        assert not await is_in(door, pair["accessToken"])
    assert await is_in(door, stranger["accessToken"])
    assert await is_in(door, (await login(door))["accessToken"])  # a new login, in the same second


async def test_revoked_by_time_are_the_logins_from_before_it(door: Door) -> None:
    old = await login(door)
    between = door.domain.now()
    refreshed = (await refresh(door, old["refreshToken"])).body  # after it, of a login before it
    new = await login(door)
    body = {"userId": "mina", "issuedBefore": between.isoformat()}
    admin = door.token("boss", role="admin")
    assert (await door.call("POST", f"{AUTH}/revoke", body, as_=admin)).status == 204
    assert [await is_in(door, pair["accessToken"]) for pair in (old, refreshed, new)] == [
        False,
        False,
        True,
    ]
    assert (await refresh(door, refreshed["refreshToken"])).code == "TOKEN_REVOKED"
    assert (await refresh(door, new["refreshToken"])).status == 200


async def test_an_older_word_does_not_undo_a_newer_one(door: Door) -> None:
    pair = await login(door)
    assert (
        await door.call("POST", f"{AUTH}/revoke", {"userId": "mina"}, as_=door.key)
    ).status == 204
    long_ago = (door.domain.now() - timedelta(days=1)).isoformat()
    body = {"userId": "mina", "issuedBefore": long_ago}
    assert (await door.call("POST", f"{AUTH}/revoke", body, as_=door.key)).status == 204
    assert not await is_in(door, pair["accessToken"])


async def test_one_token_is_revoked_with_its_login(door: Door) -> None:
    pair, other = await login(door), await login(door)
    jti = read_access(door.domain.tokens, pair["accessToken"], now=door.domain.now()).jti
    UUID(jti)
    assert (await door.call("POST", f"{AUTH}/revoke", {"jti": jti}, as_=door.key)).status == 204
    assert not await is_in(door, pair["accessToken"])
    assert (await refresh(door, pair["refreshToken"])).code == "TOKEN_REVOKED"
    assert await is_in(door, other["accessToken"])
    strange = door.token("mina", jti="of another service")
    assert (
        await door.call("POST", f"{AUTH}/revoke", {"jti": "of another service"}, as_=door.key)
    ).status == 204
    assert not await is_in(door, strange)


async def test_who_may_revoke_and_what(door: Door) -> None:
    future = (door.domain.now() + timedelta(hours=1)).isoformat()
    for body in (
        {},
        {"userId": "a", "jti": "b"},
        {"jti": "b", "issuedBefore": "2026-01-01T00:00:00Z"},
        {"userId": "a", "issuedBefore": future},
        {"userId": "a\n"},
        {"jti": "j\x00"},
    ):
        reply = await door.call("POST", f"{AUTH}/revoke", body, as_=door.key)
        assert reply.code == "INVALID_PAYLOAD", body
    user = await door.call("POST", f"{AUTH}/revoke", {"userId": "mina"}, as_="mina")
    assert user.code == "FORBIDDEN"
    nobody = await door.call("POST", f"{AUTH}/revoke", {"userId": "mina"})
    assert nobody.code == "UNAUTHENTICATED"


async def test_an_event_of_another_service_revokes_as_of_its_time(door: Door) -> None:
    old = await login(door)
    at = door.domain.now().isoformat()
    new = await login(door)
    event = {
        "eventId": str(uuid4()),
        "eventType": "session.revoked",
        "occurredAt": at,
        "payload": {"userId": "mina"},
    }
    reply = await door.call("POST", f"{PREFIX}/events", event, as_=door.key)
    assert reply.body == {"accepted": 1, "duplicates": 0}
    assert [await is_in(door, pair["accessToken"]) for pair in (old, new)] == [False, True]
