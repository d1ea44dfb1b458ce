"""Doors on real stores, and people on stock clients."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.sockets.assembly import Door, open_hub
from protocol.tokens import sign_access
from tests import verbs
from tests.client import PATIENCE as WAIT_S
from tests.client import Ears

JEJU = (33.499, 126.531)


class Running:
    """One hub with its own domain; `life.close` is what a SIGTERM leads to."""

    def __init__(self, door: Door, domain: Domain, life: Lifecycle, port: int) -> None:
        self.door = door
        self.domain = domain
        self.life = life
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, user_id: str, *, ttl_s: float = 900, role: Any = "user") -> str:
        keys, now = self.domain.tokens, self.domain.now()
        return sign_access(keys, user_id, role, now=now, ttl_s=ttl_s, jti=str(uuid4()))


class Client(Ears):
    """A stock client of a hub of these tests."""

    async def enter(self, hub: Running, token: object = None, **auth: Any) -> None:
        await self.join(hub.url, {**({} if token is None else {"token": token}), **auth})


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    life = Lifecycle()
    try:
        async with asyncio.timeout(30):
            domain = await open_domain(life, settings)
            door = await open_hub(life, settings, domain)
            port = await door.start("127.0.0.1", 0)
        yield Running(door, domain, life, port)
    finally:
        async with asyncio.timeout(30):
            await life.close()
        assert not life.failed


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as one:
        yield one


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects a client to a hub as somebody; all of them leave after the test."""
    clients: list[Client] = []

    async def connect(hub: Running, user_id: str, *, ready: bool = True, **auth: Any) -> Client:
        client = Client()
        clients.append(client)
        auth.setdefault("recovery", False)
        await client.enter(hub, auth.pop("token", None) or hub.token(user_id), **auth)
        if ready:
            await client.next("ready")
        return client

    yield connect
    await asyncio.gather(*(client.close() for client in clients))


async def settle_in(hub: Running, user_id: str, lat: float = JEJU[0], lng: float = JEJU[1]) -> None:
    """A person of the hub's database who consented, with a position."""
    async with hub.domain.pool.acquire() as conn:
        await members.ensure(hub.domain, conn, user_id)
        await conn.execute("UPDATE users SET location_consent_at = now() WHERE id = $1", user_id)
    await verbs.locate(hub.domain, user_id, lat, lng, 10)


class Wire:
    """A WebSocket without any client library over it: Engine.IO packets as they are."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def send(self, packet: str | bytes) -> None:
        if isinstance(packet, bytes):
            await self._ws.send_frame(packet, aiohttp.WSMsgType.TEXT)
        else:
            await self._ws.send_str(packet)

    async def next(self) -> str | int:
        """The next packet, pings answered; the close code when there will be none."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self._ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return self._ws.close_code or 1006
                if message.data != "2":
                    return str(message.data)
                await self._ws.send_str("3")

    async def starting(self, prefix: str) -> str:
        """The next packet that begins so; those before it are passed over."""
        while True:
            packet = await self.next()
            assert isinstance(packet, str), f"closed with {packet}"
            if packet.startswith(prefix):
                return packet


@pytest.fixture
async def dial() -> AsyncIterator[Callable[[Running], Awaitable[Wire]]]:
    """Opens a WebSocket to a hub and reads its OPEN packet."""
    async with aiohttp.ClientSession() as session:

        async def dial(hub: Running) -> Wire:
            url = f"{hub.url}/socket.io/?EIO=4&transport=websocket"
            wire = Wire(await session.ws_connect(url, max_msg_size=0))
            assert str(await wire.next()).startswith("0{")
            return wire

        yield dial


Dial = Callable[[Running], Awaitable[Wire]]


def with_figures(settings: Settings, **figures: Any) -> Settings:
    """The same settings but for some of the sockets' figures."""
    return replace(settings, sockets=settings.sockets.model_copy(update=figures))
