"""A hub whose Redis answers and takes no writes: its sockets stay, it says it is not ready, and
nobody is told that something was kept which was not.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import AWAY
from hub.sockets.guest import guest_of, left_of
from tests.hub.plumbing.stores.redis_server import RedisServer
from tests.hub.plumbing.stores.refusals import refuse, refusing_server, relent
from tests.hub.sockets.conftest import Connect, Dial, Running, running
from tests.hub.sockets.test_cluster import member_of
from tests.hub.sockets.test_outage import on_redis
from tests.hub.sockets.test_recovery import back, drop

pytestmark = pytest.mark.fault(7)

STREAM = {"streamKey": "sold-out"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = await refusing_server(tmp_path / "refusing")
    yield server
    await server.kill()


@pytest.mark.parametrize("word", ["OOM", "MISCONF", "NOREPLICAS"])
async def test_sockets_stay_and_the_hub_is_not_ready(
    word: str, settings: Settings, server: RedisServer, connect: Connect, dial: Dial
) -> None:
    async with running(on_redis(settings, server.url)) as hub:
        client = await connect(hub, "minji", recovery=True)
        await hub.door.needed["redis"]()
        await refuse(server, word)
        with pytest.raises(AWAY):
            await hub.door.needed["redis"]()
        assert (await client.call("inbox:sync", {}))["ok"] is True
        joined = await client.call("join:stream", STREAM)
        assert joined["error"]["code"] == "UNAVAILABLE", "its session could not be told"
        assert "stream:sold-out" not in member_of(hub, "minji").room_names
        half = await dial(hub)
        await half.send("40" + json.dumps({"token": hub.token("jiho")}))
        assert isinstance(await half.next(), int), "closed below Socket.IO: it comes back"
        await relent(server, word)
        await hub.door.needed["redis"]()
        assert (await client.call("join:stream", STREAM))["ok"] is True
        await connect(hub, "jiho")


async def test_who_missed_something_for_good_is_told(
    hub: Running, connect: Connect, record_property: Callable[[str, object], None]
) -> None:
    """What the bus does when a gap lies before something that was handed on (test_gaps.py)."""
    client = await connect(hub, "minji", recovery=True)
    other = await connect(hub, "jiho", recovery=True)
    left = left_of(guest_of(member_of(hub, "minji")))
    await hub.door.node.bus._lose("/", ("user:minji",))
    await client.next("(disconnect)")
    await left
    ready = await (await back(connect, hub, client, "minji")).next("ready")
    assert ready["recovered"] is False
    assert other.sio.connected
    record_property("seen", "a gap that cannot be mended: closed, then recovered: false")


async def test_a_session_that_could_not_be_told_is_not_recovered(
    settings: Settings, server: RedisServer, connect: Connect
) -> None:
    """It left the room, its session still names it: it would come back into it."""
    async with running(on_redis(settings, server.url)) as hub:
        client = await connect(hub, "minji", recovery=True)
        assert (await client.call("join:stream", STREAM))["ok"] is True
        await refuse(server, "NOREPLICAS")
        await client.call("leave:stream", STREAM)
        left = left_of(guest_of(member_of(hub, "minji")))
        await relent(server, "NOREPLICAS")
        await drop(client)
        await asyncio.wait_for(left, 10)
        ready = await (await back(connect, hub, client, "minji")).next("ready")
        assert ready["recovered"] is False
        assert "stream:sold-out" not in ready["rooms"]
