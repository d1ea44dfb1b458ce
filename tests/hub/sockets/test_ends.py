"""Ends of sockets as stock clients meet them: after which they are back, and what they hear."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from hub.plumbing.settings.settings import Settings
from protocol.events import CLIENT_EVENTS
from tests.client import Ears
from tests.hub.sockets.conftest import Dial, Running, running, with_figures

WITHIN_S = 2.0
"""So soon everybody is back."""


class Returning(Ears):
    """A stock python-socketio client that comes back by itself."""

    def __init__(self, http: aiohttp.ClientSession, hub: Running, user: str) -> None:
        super().__init__(reconnection_delay=0.05, reconnection_delay_max=0.2, http_session=http)
        self._hub, self._user = hub, user
        self._comings = 0
        self.ttl_s = 900.0

    def _auth(self) -> dict[str, Any]:
        ttl_s, self.ttl_s = self.ttl_s, 900.0
        return {"token": self._hub.token(self._user, ttl_s=ttl_s), "recovery": False}

    async def connect(self, transport: str, ttl_s: float = 900.0) -> None:
        self.ttl_s = ttl_s
        await self.join(self._hub.url, self._auth, transport)
        await self.back()

    async def back(self) -> None:
        self._comings += 1
        async with asyncio.timeout(WITHIN_S + 1):
            await self.some("ready", self._comings)


Come = Callable[..., Awaitable[Returning]]


@pytest.fixture
async def come() -> AsyncIterator[Come]:
    clients: list[Returning] = []
    async with aiohttp.ClientSession() as http:

        async def come(hub: Running, user: str, transport: str, **how: Any) -> Returning:
            clients.append(Returning(http, hub, user))
            await clients[-1].connect(transport, **how)
            return clients[-1]

        yield come
        await asyncio.gather(*(client.close() for client in clients))


@pytest.mark.fault(19)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_after_an_expiry_a_client_is_back(
    hub: Running, come: Come, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's client brings a fresh token, as its `auth` is asked anew."""
    monkeypatch.setattr(hub.door.node, "expired_grace_s", 0.0)
    client = await come(hub, "minji", transport, ttl_s=1)
    await client.next("(disconnect)")
    await client.back()
    assert client.names().count("ready") == 2


@pytest.mark.fault(19)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_whoever_is_kicked_stays_away(hub: Running, come: Come, transport: str) -> None:
    """What a revocation does: the client's own word is "io server disconnect"."""
    client = await come(hub, "minji", transport)
    gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    client.sio.on("disconnect", gone.set_result)
    (member,) = hub.door.node.guests.values()
    hub.door.node.server.kick(member)
    assert await asyncio.wait_for(gone, WITHIN_S) == "server disconnect"
    assert client.sio._reconnect_task is None


@pytest.mark.fault(19)
async def test_polling_clients_hear_of_the_drain_before_it(
    settings: Settings, come: Come, record_property: Callable[[str, object], None]
) -> None:
    async with running(settings) as hub:
        clients = [await come(hub, f"p{number}", "polling") for number in range(10)]
        gone = [asyncio.Event() for _ in clients]
        for client, event in zip(clients, gone, strict=True):
            client.sio.on("disconnect", lambda reason, event=event: event.set())
        await hub.door.drain()
        async with asyncio.timeout(5):
            await asyncio.gather(*(event.wait() for event in gone))
        told = sum("server:shutdown" in client.names() for client in clients)
        record_property("seen", f"{told} of 10 stock polling clients heard server:shutdown")
        assert told == 10
        assert all(client.sio._reconnect_task is not None for client in clients)
        for client in clients:
            await client.close()


@pytest.mark.fault(27)
@pytest.mark.parametrize("token", [True, False])
async def test_refused_logins_do_not_keep_a_session(
    settings: Settings, dial: Dial, token: bool
) -> None:
    async with running(with_figures(settings, connect_timeout_s=0.5)) as hub:
        wire = await dial(hub)
        word = hub.token("minji", ttl_s=-1) if token else "rubbish"
        async with asyncio.timeout(3):
            while isinstance(await _ask(wire, f'40{{"token":"{word}"}}'), str):
                await asyncio.sleep(0.05)
        assert hub.door.node.server.book.counters.closed == {"connect timeout": 1}


async def _ask(wire: Any, packet: str) -> Any:
    try:
        await wire.send(packet)
    except ConnectionError:
        return None
    return await wire.next()


@pytest.mark.fault(27)
async def test_the_hub_keeps_no_request(hub: Running, come: Come) -> None:
    await come(hub, "minji", "websocket")
    (member,) = hub.door.node.guests.values()
    assert dict(member.link.environ) == {"REMOTE_ADDR": "127.0.0.1"}


@pytest.mark.fault(25)
async def test_no_client_event_takes_bytes(hub: Running, come: Come) -> None:
    """In any place of its payload: a coded answer, and the socket lives on."""
    client = await come(hub, "minji", "websocket")
    for (namespace, name), event in CLIENT_EVENTS.items():
        if namespace != "/":
            continue
        for payload in (b"x", {"x": b"x"}, {"x": [b"x"]}, _filled(event.payload)):
            answer = await client.sio.call(name, payload, timeout=5)
            assert answer["ok"] is False, (name, payload)
            assert answer["error"]["code"] in ("INVALID_PAYLOAD", "RATE_LIMITED"), answer
    assert client.sio.connected


def _filled(form: Any) -> dict[str, bytes]:
    """Bytes in each field, of the length of a UUID."""
    return dict.fromkeys(form.__struct_encode_fields__, b"0123456789abcdef") or {"x": b""}
