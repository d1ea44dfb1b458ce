"""Who may come in, what they are told, and that nobody hears anything before."""

import json
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import socketio

from hub.engine import Event
from hub.plumbing.settings.settings import Settings
from hub.sockets.guest import guest_of, left_of
from protocol.errors import Code
from protocol.events import Emit
from protocol.tokens import TokenKeys, sign_access, sign_refresh
from tests.hub.sockets.conftest import Client, Connect, Dial, Running, running, with_figures


def bad_tokens(hub: Running) -> dict[str, tuple[Any, Code]]:
    keys, now = hub.domain.tokens, hub.domain.now()
    forger = TokenKeys(("x" * 40,), keys.issuer, keys.audience)
    forged = sign_access(forger, "minji", "admin", now=now, ttl_s=900, jti="1")
    refresh = sign_refresh(keys, "minji", str(uuid4()), now=now, ttl_s=900, jti="2")
    return {
        "missing": (None, Code.UNAUTHENTICATED),
        "empty": ("", Code.UNAUTHENTICATED),
        "number": (7, Code.UNAUTHENTICATED),
        "object": ({"sub": "minji"}, Code.UNAUTHENTICATED),
        "garbage": ("a.b.c", Code.UNAUTHENTICATED),
        "huge": ("a" * 60_000, Code.UNAUTHENTICATED),
        "forged": (forged, Code.UNAUTHENTICATED),
        "refresh": (refresh, Code.UNAUTHENTICATED),
        "expired": (hub.token("minji", ttl_s=-1), Code.TOKEN_EXPIRED),
    }


@pytest.mark.refused
async def test_bad_tokens_are_refused_with_their_code(hub: Running) -> None:
    for name, (token, code) in bad_tokens(hub).items():
        client = Client()
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.enter(hub, token)
        assert client.refusal["data"]["code"] == code, name
        assert client.refusal["message"] == client.refusal["data"]["message"]
        assert client.heard == [], name
    assert not hub.door.node.guests


async def test_a_revoked_token_is_refused(hub: Running) -> None:
    token = hub.token("minji")
    now_ms = int(hub.domain.now().timestamp() * 1000) + 1
    await hub.domain.redis.set(hub.domain.keys.revoked("minji"), now_ms)
    client = Client()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.enter(hub, token)
    assert client.refusal["data"]["code"] == Code.TOKEN_REVOKED


async def test_nothing_is_sent_before_the_token_was_verified(hub: Running, dial: Dial) -> None:
    server = hub.door.node.server
    wire = await dial(hub)
    server.deliver(Event(["secret", {}]))
    await wire.send('40{"token":"forged"}')
    server.deliver(Event(["secret", {}]))
    refused = await wire.next()
    server.deliver(Event(["secret", {}]))
    assert str(refused).startswith("44{")
    await wire.send("40" + json.dumps({"token": hub.token("minji")}))
    assert str(await wire.next()).startswith("40{")
    assert str(await wire.next()).startswith('42["ready"')


async def test_what_is_published_during_the_check_comes_after_ready(
    hub: Running, dial: Dial
) -> None:
    """From the moment a room is joined nothing is missed, and ready still comes first."""
    wire = await dial(hub)
    node = hub.door.node
    opened = node.server.manager.namespaces.hooks.opened
    assert opened is not None

    def publish_at_once(namespace: str, room: Any) -> None:
        opened(namespace, room)
        if room == "user:minji":
            node.server.deliver(Event(["early", {"n": 1}]), ("user:minji",))

    node.server.on_rooms(publish_at_once, node.server.manager.namespaces.hooks.emptied)
    await wire.send("40" + json.dumps({"token": hub.token("minji")}))
    packets = [str(await wire.next()) for _ in range(3)]
    assert packets[0].startswith("40{")
    assert packets[1].startswith('42["ready"')
    assert packets[2].startswith('42["early"')


@pytest.mark.parametrize("namespace", ["/chats", "/nowhere"])
async def test_other_namespaces_are_refused(hub: Running, dial: Dial, namespace: str) -> None:
    wire = await dial(hub)
    await wire.send(f"40{namespace}," + json.dumps({"token": hub.token("minji")}))
    assert await wire.next() == f'44{namespace},{{"message":"Invalid namespace"}}'


async def test_a_client_without_recovery_gets_neither_pid_nor_offset(
    hub: Running, connect: Connect
) -> None:
    plain = await connect(hub, "minji")
    stamped = await connect(hub, "jiho", recovery=True)
    assert (await plain.next("ready"))["pid"] is None
    assert (await stamped.next("ready"))["pid"]
    for user in ("minji", "jiho"):
        emit = Emit(id=str(uuid4()), event="x", rooms=(f"user:{user}",), data={"n": 1})
        await hub.domain.outbox._publish([emit])
    await plain.next("x")
    await stamped.next("x")
    assert [len(args) for name, args in plain.heard if name == "x"] == [1]
    assert [len(args) for name, args in stamped.heard if name == "x"] == [2]


async def test_a_person_over_the_limit_loses_the_oldest_socket(
    settings: Settings, connect: Connect
) -> None:
    few = with_figures(settings, max_per_user=2)
    async with running(few) as one, running(few) as other:
        first = await connect(one, "minji")
        second = await connect(other, "minji")
        third = await connect(other, "minji")
        await first.next("(disconnect)")
        fourth = await connect(one, "minji")
        await second.next("(disconnect)")
        assert third.sio.connected
        assert fourth.sio.connected


async def test_an_expired_token_ends_the_socket(
    hub: Running, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.door.node, "expired_grace_s", 0.0)
    client = await connect(hub, "minji", token=hub.token("minji", ttl_s=1))
    assert await client.next("(disconnect)") == client.sio.reason.TRANSPORT_ERROR


async def test_presence_follows_the_socket(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji")
    assert await hub.domain.presence.online(["minji", "jiho"]) == {"minji"}
    (member,) = hub.door.node.guests.values()
    await client.close()
    await left_of(guest_of(member))
    assert await hub.domain.presence.online(["minji"]) == set()


async def test_a_handshake_is_refused_below_while_the_node_drains(hub: Running) -> None:
    hub.door.node.server.refuse_new(7)
    async with aiohttp.ClientSession() as session:
        for transport in ("polling", "websocket"):
            url = f"{hub.url}/socket.io/?EIO=4&transport={transport}"
            headers = (
                {}
                if transport == "polling"
                else {
                    "Connection": "Upgrade",
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                }
            )
            async with session.get(url, headers=headers) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "7"
