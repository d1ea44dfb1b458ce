"""Stores that go away and come back, and a node that goes for good."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from hub.embedded import Postgres, Valkey
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import migrate
from hub.plumbing.stores.postgres import acquire
from hub.sockets import whereabouts
from hub.sockets.guest import guest_of
from protocol.errors import HubError
from tests import verbs
from tests.conftest import FLAVOUR
from tests.hub.sockets.conftest import (
    Client,
    Connect,
    Dial,
    Running,
    running,
    settle_in,
)
from tests.hub.sockets.test_alert import urgent


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A server of this test alone, to be ended and started again."""
    server = Valkey(tmp_path / "valkey", durable=False, prefer=FLAVOUR)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    server = Postgres(tmp_path / "postgres", durable=False, prefer=FLAVOUR)
    conn = await asyncpg.connect(await server.start())
    await migrate(conn)
    await conn.close()
    yield server
    await server.stop()


def on_redis(settings: Settings, url: str) -> Settings:
    return replace(settings, redis=settings.redis.model_copy(update={"url": SecretStr(url)}))


def on_postgres(settings: Settings, url: str) -> Settings:
    return replace(settings, database=settings.database.model_copy(update={"url": SecretStr(url)}))


async def test_redis_away(
    settings: Settings, own_valkey: Valkey, connect: Connect, dial: Dial
) -> None:
    async with running(on_redis(settings, own_valkey.url)) as hub:
        client = await connect(hub, "minji")
        half = await dial(hub)
        port = own_valkey.port
        await own_valkey.stop()
        await half.send("40" + json.dumps({"token": hub.token("jiho")}))
        assert isinstance(await half.next(), int)  # closed below Socket.IO: it comes back
        await _refused(hub)
        with pytest.raises(ConnectionError):
            await hub.door.needed["redis"]()
        joined = await client.call("neighbourhood:join", {"code": codes(hub)[0]})
        assert joined["error"]["code"] == "UNAVAILABLE"
        assert joined["error"]["retryAfterMs"] > 0
        assert (await client.call("inbox:sync", {}))["ok"] is True  # Postgres is there
        own_valkey.port = port
        await own_valkey.start()
        await _ready(hub)
        await _online(hub, "minji")
        await settle_in(hub, "minji")
        asked = await verbs.ask(hub.domain, "traveller", urgent())
        assert (await client.next("question:urgent"))["questionId"] == asked.id
        await client.close()


async def _refused(hub: Running) -> None:
    url = f"{hub.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0


async def _ready(hub: Running) -> None:
    async with asyncio.timeout(20):
        while not hub.door.node.bus.ready:
            await asyncio.sleep(0.05)


async def _online(hub: Running, user_id: str) -> None:
    async with asyncio.timeout(20):
        while user_id not in await hub.domain.presence.online([user_id]):
            await asyncio.sleep(0.05)


def codes(hub: Running) -> list[str]:
    return [spot.code for spot in hub.domain.atlas.neighbourhoods]


async def test_postgres_away(settings: Settings, own_postgres: Postgres, connect: Connect) -> None:
    async with running(on_postgres(settings, own_postgres.url)) as hub:
        await settle_in(hub, "minji")
        old = await connect(hub, "minji", recovery=True)
        pid = (await old.next("ready"))["pid"]
        await old.sio.eio.ws.close()
        await own_postgres.stop()
        client = await connect(hub, "jiho")
        ready = await client.next("ready")
        assert ready["unread"] is None
        assert ready["rooms"] == ["user:jiho"]
        code = codes(hub)[0]
        joined = await client.call("neighbourhood:join", {"code": code})
        assert joined["ok"] is True
        assert joined["recent"] is None
        joined = await client.call("question:join", {"questionId": "who-knows"})
        assert joined["answers"] is None
        refused = await client.call("inbox:sync", {})
        assert refused["error"]["code"] == "UNAVAILABLE"
        assert refused["error"]["retryAfterMs"] > 0
        again = await connect(hub, "minji", recovery=True, pid=pid)
        ready = await again.next("ready")
        assert ready["recovered"] is True
        assert "region:jeju" in ready["rooms"]
        await own_postgres.start()
        await _known(hub, "jiho")
        asked = await verbs.ask(hub.domain, "traveller", urgent())
        assert (await again.next("question:urgent"))["questionId"] == asked.id
        await again.close()
        await client.close()


async def test_who_comes_while_postgres_is_away_is_told_what_is_open_when_it_is_back(
    settings: Settings, own_postgres: Postgres, connect: Connect
) -> None:
    async with running(on_postgres(settings, own_postgres.url)) as hub:
        await settle_in(hub, "minji")
        asked = await verbs.ask(hub.domain, "traveller", urgent())
        await own_postgres.stop()
        client = await connect(hub, "minji")
        assert (await client.next("ready"))["rooms"] == ["user:minji"]
        await own_postgres.start()
        assert (await client.next("question:urgent"))["questionId"] == asked.id
        await client.close()


async def test_who_is_still_coming_in_when_postgres_is_back_is_looked_after_later(
    settings: Settings,
    own_postgres: Postgres,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(on_postgres(settings, own_postgres.url)) as hub:
        node, last_step, may_go_on = hub.door.node, asyncio.Event(), asyncio.Event()
        note = node.presence.connect

        async def slow(*given: Any) -> Any:
            last_step.set()
            await may_go_on.wait()
            return await note(*given)

        monkeypatch.setattr(node.presence, "connect", slow)
        await settle_in(hub, "minji")
        asked = await verbs.ask(hub.domain, "traveller", urgent())
        await own_postgres.stop()
        coming = asyncio.ensure_future(connect(hub, "minji"))
        await last_step.wait()
        await own_postgres.start()
        await _reached(hub)
        await whereabouts._mend(node, Lasting(structlog.get_logger(), "away", "back"))
        may_go_on.set()
        client = await coming
        assert (await client.next("question:urgent"))["questionId"] == asked.id
        await client.close()


async def test_a_doubt_that_comes_while_rooms_are_found_out_is_not_lost(
    settings: Settings, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as hub:
        client = await connect(hub, "minji")
        node, look_around = hub.door.node, whereabouts.look_around

        async def doubted_again(*given: Any) -> None:
            await look_around(*given)
            node.doubt("minji")

        monkeypatch.setattr(whereabouts, "look_around", doubted_again)
        node.doubt("minji")
        behind = Lasting(structlog.get_logger(), "away", "back")
        await whereabouts._mend(node, behind)
        assert "minji" in node.stale
        monkeypatch.setattr(whereabouts, "look_around", look_around)
        await whereabouts._mend(node, behind)
        assert "minji" not in node.stale
        await client.close()


async def _reached(hub: Running) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(HubError):
                async with acquire(hub.domain.pool):
                    return
            await asyncio.sleep(0.05)


async def _known(hub: Running, user_id: str) -> None:
    """Until the rooms were found out that Postgres could not tell when this person came."""
    async with asyncio.timeout(20):
        while user_id in hub.door.node.stale:
            await asyncio.sleep(0.05)
    rooms = [guest_of(member).grounds.automatic for member in hub.door.node.guests.values()]
    assert ("user:jiho", "region:default") in rooms


async def test_a_node_that_goes_tells_its_sockets(settings: Settings, connect: Connect) -> None:
    async with running(settings) as staying:
        async with running(settings) as going:
            clients = [await connect(going, f"person-{number}") for number in range(5)]
            other = await connect(staying, "minji")
        for client in clients:
            told = await client.next("server:shutdown")
            assert told["reason"]
            assert told["reconnectAfterMs"] >= 0
            assert client.names() == ["ready", "server:shutdown", "(disconnect)"]
        people = [f"person-{number}" for number in range(5)]
        assert await staying.domain.presence.online([*people, "minji"]) == {"minji"}
        assert await staying.door.node.presence.nodes() == [staying.door.node.id]
        assert other.sio.connected
        await other.close()


async def test_a_socket_survives_the_end_of_its_node(settings: Settings, connect: Connect) -> None:
    async with running(settings) as staying:
        async with running(settings) as going:
            client = await connect(going, "minji", recovery=True)
            pid = (await client.next("ready"))["pid"]
        again: Client = await connect(staying, "minji", recovery=True, pid=pid)
        assert (await again.next("ready"))["recovered"] is True
        await again.close()


async def test_nodes_that_leave_together_share_what_the_others_bear(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DRAIN_RATE is what each node that stays sees of all that leave."""
    rates: list[float] = []

    async def drained(rate: float, *_: object) -> int:
        rates.append(rate)
        return 0

    def leaves(hub: Running) -> None:
        monkeypatch.setattr(hub.door.node.server, "drain", drained)
        hub.life.stop()

    async with running(settings) as staying:
        async with running(settings) as first, running(settings) as second:
            leaves(first)
            leaves(second)
            async with asyncio.timeout(5):
                while len(await staying.door.node.presence.leaving()) < 2:
                    await asyncio.sleep(0.01)
            await asyncio.gather(first.life.close(), second.life.close())
        async with running(settings) as third:
            leaves(third)
    assert [rate / settings.sockets.drain_rate for rate in rates] == pytest.approx([0.4, 0.4, 0.8])
