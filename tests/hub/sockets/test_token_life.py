"""A socket and its token: told of its end, renewed without a gap, revoked on every node at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import socketio

from hub.domain.people import logins, revocation, sessions
from hub.domain.people.sessions import Service
from hub.plumbing.settings.settings import Settings
from protocol.errors import HubError
from protocol.events import Emit, Revocation
from protocol.rest.sessions import RevokeRequest, Session, SessionRequest
from protocol.tokens import read_access
from tests.hub.sockets.conftest import Client, Connect, Running, running


def with_times(settings: Settings, lead_s: int, grace_s: int) -> Settings:
    changes = {"expiring_lead_s": lead_s, "expired_grace_s": grace_s}
    return replace(settings, auth=settings.auth.model_copy(update=changes))


@pytest.fixture
async def other(hub: Running, settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as one:
        yield one


async def login(hub: Running, user_id: str = "minji") -> Session:
    caller = await _service(hub)
    async with hub.domain.outbox.change() as change:
        return await logins.open_session(
            hub.domain, change, caller, SessionRequest(user_id=user_id), user_agent=None, ip=None
        )


async def _service(hub: Running) -> Service:
    key = await sessions.add_service(hub.domain, "users")
    return await sessions.service(hub.domain, key)


async def gone_after(client: Client, since: float) -> float:
    """How long it took until the client was disconnected, by the server's word."""
    reason = await client.next("(disconnect)")
    assert reason == client.sio.reason.SERVER_DISCONNECT
    return time.monotonic() - since


async def test_a_socket_lives_on_over_three_tokens_and_misses_nothing(
    settings: Settings, connect: Connect
) -> None:
    """Tokens of 3 s, told 2 s before, closed 3 s after: so each lasts a second."""
    async with running(with_times(settings, lead_s=2, grace_s=3)) as hub:
        client = await connect(hub, "minji", token=hub.token("minji", ttl_s=3), recovery=True)
        sent: list[str] = []

        async def publish() -> None:
            while True:
                one = Emit(id=str(uuid4()), event="x", rooms=("user:minji",), data={"n": len(sent)})
                await hub.domain.outbox._publish([one])
                sent.append(one.id)
                await asyncio.sleep(0.05)

        publishing = asyncio.create_task(publish())
        for times in (1, 2, 3):
            told = (await client.some("auth:expiring", times))[-1]
            token = hub.token("minji", ttl_s=3)
            ack = await client.call("auth:refresh", {"token": token})
            assert ack["ok"]
            assert ack["expiresAt"] > told["expiresAt"]
        publishing.cancel()
        await client.some("x", len(sent))
        heard = [args[0]["n"] for name, args in client.heard if name == "x"]
        assert heard == list(range(len(heard)))
        assert "auth:expired" not in client.names()
        assert "(disconnect)" not in client.names()
        assert client.names().count("ready") == 1


async def test_whoever_does_not_renew_is_told_and_closed(
    settings: Settings, connect: Connect
) -> None:
    async with running(with_times(settings, lead_s=1, grace_s=1)) as hub:
        client = await connect(hub, "minji", token=hub.token("minji", ttl_s=2))
        assert await client.next("(disconnect)") == client.sio.reason.TRANSPORT_ERROR
        assert [name for name in client.names() if name.startswith("auth:")] == [
            "auth:expiring",
            "auth:expired",
        ]
        assert len(hub.door.node.expiries) == 0


async def test_in_the_grace_a_new_token_still_saves_the_socket(
    settings: Settings, connect: Connect
) -> None:
    async with running(with_times(settings, lead_s=1, grace_s=30)) as hub:
        client = await connect(hub, "minji", token=hub.token("minji", ttl_s=1))
        await client.next("auth:expired")
        assert (await client.call("auth:refresh", {"token": hub.token("minji")}))["ok"]
        member = next(iter(hub.door.node.guests.values()))
        assert len(hub.door.node.expiries) == 1
        assert member.connected


async def test_a_token_that_is_not_good_renews_nothing(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji")
    revoked = hub.token("minji")
    jti = read_access(hub.domain.tokens, revoked, now=hub.domain.now()).jti
    await hub.domain.redis.set(hub.domain.keys.blacklist(jti), "1")
    for token, code in (
        (hub.token("jiho"), "FORBIDDEN"),
        (hub.token("minji", ttl_s=-1), "TOKEN_EXPIRED"),
        (revoked, "TOKEN_REVOKED"),
        ("x", "UNAUTHENTICATED"),
        ("x" * 5000, "INVALID_PAYLOAD"),
        (None, "INVALID_PAYLOAD"),
    ):
        ack = await client.call("auth:refresh", {"token": token})
        assert ack["error"]["code"] == code
    assert client.sio.connected


async def test_a_renewal_takes_the_rooms_that_closed_meanwhile(
    hub: Running, connect: Connect
) -> None:
    client = await connect(hub, "minji")
    member = next(iter(hub.door.node.guests.values()))
    assert (await client.call("join:stream", {"streamKey": "live"}))["ok"]
    guest = member.data
    guest.grounds = guest.grounds.asking("question:gone")
    assert (await client.call("auth:refresh", {"token": hub.token("minji")}))["ok"]
    assert set(guest.grounds.asked) == {"stream:live"}
    assert "user:minji" in guest.grounds.automatic


# --- revoked -------------------------------------------------------------------------------------


async def test_revoking_a_person_cuts_their_sockets_on_all_nodes_within_a_second(
    hub: Running, other: Running, connect: Connect
) -> None:
    mine = [await connect(hub, "minji"), await connect(other, "minji")]
    stranger = await connect(other, "jiho")
    since = time.monotonic()
    await revocation.revoke(hub.domain, RevokeRequest(user_id="minji"))
    took = [await gone_after(client, since) for client in mine]
    assert max(took) < 1.0
    for client in mine:
        assert (await client.next("session:revoked"))["reason"] == "revoked"
        assert client.names().index("session:revoked") < client.names().index("(disconnect)")
    assert stranger.sio.connected
    again = await connect(other, "minji")
    assert again.sio.connected


async def test_revoking_by_time_leaves_the_newer_sockets(
    hub: Running, other: Running, connect: Connect
) -> None:
    old = await connect(hub, "minji")
    between = hub.domain.now()
    new = await connect(other, "minji")
    since = time.monotonic()
    await revocation.revoke(other.domain, RevokeRequest(user_id="minji", issued_before=between))
    assert await gone_after(old, since) < 1.0
    await asyncio.gather(new.call("presence:get", {"room": "region:default"}))
    assert new.sio.connected


async def test_logging_out_cuts_the_sockets_of_that_login(
    hub: Running, other: Running, connect: Connect
) -> None:
    """Those that came in with an older token of it, too."""
    pair = await login(hub)
    first = await connect(hub, "minji", token=pair.access_token)
    token = logins.read(hub.domain, pair.refresh_token)
    newer = await logins.refresh(hub.domain, token, pair.refresh_token, user_agent=None, ip=None)
    second = await connect(other, "minji", token=newer.access_token)
    phone = await connect(other, "minji", token=(await login(hub)).access_token)
    caller = await sessions.verify(hub.domain, newer.access_token)
    since = time.monotonic()
    await logins.logout(hub.domain, caller, None, None)
    assert max([await gone_after(client, since) for client in (first, second)]) < 1.0
    assert phone.sio.connected


@pytest.mark.fault(17)
async def test_a_stolen_refresh_token_cuts_the_thief_and_the_robbed(
    hub: Running, other: Running, connect: Connect
) -> None:
    pair = await login(hub)
    token = logins.read(hub.domain, pair.refresh_token)
    stolen = await logins.refresh(hub.domain, token, pair.refresh_token, user_agent=None, ip=None)
    robbed = await connect(hub, "minji", token=pair.access_token)
    thief = await connect(other, "minji", token=stolen.access_token)
    since = time.monotonic()
    with pytest.raises(HubError, match="TOKEN_REVOKED"):
        await logins.refresh(other.domain, token, pair.refresh_token, user_agent=None, ip=None)
    assert max([await gone_after(client, since) for client in (robbed, thief)]) < 1.0


async def test_a_token_of_an_unknown_login_is_cut_by_its_number(
    hub: Running, other: Running, connect: Connect
) -> None:
    text = hub.token("minji")
    client = await connect(other, "minji", token=text)
    jti = read_access(hub.domain.tokens, text, now=hub.domain.now()).jti
    since = time.monotonic()
    await revocation.revoke(hub.domain, RevokeRequest(jti=jti))
    assert await gone_after(client, since) < 1.0


async def test_a_word_that_comes_during_an_admission_is_not_missed(
    hub: Running, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token was found good, the socket is in no room yet, and now it is revoked."""
    node, verify = hub.door.node, sessions.verify

    async def slow(d: Any, text: object, **options: Any) -> Any:
        token = await verify(d, text, **options)
        node.revocations.heard(
            Revocation(reason="revoked", ttl_s=60, user_id="minji", before_ms=time.time() * 1000)
        )
        return token

    monkeypatch.setattr(sessions, "verify", slow)
    client = Client()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.join(hub.url, {"token": hub.token("minji")})
    assert client.refusal["data"]["code"] == "TOKEN_REVOKED"


async def test_what_was_revoked_while_nobody_listened_is_found_out(
    hub: Running, connect: Connect
) -> None:
    client, stranger = await connect(hub, "minji"), await connect(hub, "jiho")
    at = hub.domain.now().timestamp() * 1000
    await hub.domain.redis.set(hub.domain.keys.revoked("minji"), at)
    await hub.door.node.revocations.ask_again()
    await client.next("session:revoked")
    assert stranger.sio.connected
