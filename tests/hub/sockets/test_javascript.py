"""The stock JavaScript client: it comes back by itself, recovered, and misses nothing."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hub.cluster.emitter import Emitter
from hub.engine import Member
from hub.plumbing.settings.settings import Settings
from protocol.names import Channels
from protocol.redis_wire import Broadcast, encode_broadcast, encode_open
from protocol.stock import Untellable
from tests.hub.sockets.conftest import Running, running, with_figures
from tests.hub.sockets.test_recovery import tell

SCRIPT = Path(__file__).with_name("client.js")
MODULES = Path(__file__).parents[2] / "node" / "node_modules"
WAIT_S = 20.0


class Page:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def until(self, name: str) -> list[tuple[str, Any]]:
        """Everything up to the next event of this name."""
        assert self._process.stdout is not None
        heard: list[tuple[str, Any]] = []
        async with asyncio.timeout(WAIT_S):
            while not heard or heard[-1][0] != name:
                line = await self._process.stdout.readline()
                assert line, "the client ended"
                event, *data = json.loads(line)
                heard.append((event, data[0] if data else None))
        return heard

    async def call(self, event: str, data: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([event, data]).encode() + b"\n")
        return (await self.until("ack"))[-1][1]

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


Open = Callable[..., Awaitable[Page]]


@pytest.fixture
async def open_page() -> AsyncIterator[Open]:
    if shutil.which("node") is None or not MODULES.is_dir():
        pytest.skip("node and tests/node/node_modules are not here (npm ci --prefix tests/node)")
    pages: list[Page] = []

    async def open_page(hub: Running, token: str, parser: str = "", namespace: str = "") -> Page:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(SCRIPT),
            hub.url + namespace,
            token,
            parser,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(MODULES)},
        )
        pages.append(Page(process))
        return pages[-1]

    yield open_page
    await asyncio.gather(*(page.close() for page in pages))


def only(hub: Running) -> Member:
    (member,) = hub.door.node.guests.values()
    return member


@pytest.mark.parametrize("parser", ["json", "msgpack"])
async def test_it_recovers_by_itself(hub: Running, open_page: Open, parser: str) -> None:
    page = await open_page(hub, hub.token("minji"), parser)
    (_, connected), *_ = await page.until("ready")
    assert connected["recovered"] is False
    await tell(hub, "minji", 1)
    await page.until("news")
    hub.door.node.server.cut(only(hub))
    for number in (2, 3):
        await tell(hub, "minji", number)
    heard = await page.until("ready")
    await tell(hub, "minji", 4)
    heard += await page.until("news")
    assert [data["n"] for name, data in heard if name == "news"] == [2, 3, 4]
    again = next(data for name, data in heard if name == "connect")
    assert again == {"recovered": True, "id": connected["id"]}


async def test_acks_and_errors_are_plain_objects(hub: Running, open_page: Open) -> None:
    page = await open_page(hub, hub.token("minji"))
    await page.until("ready")
    assert (await page.call("inbox:sync", {}))["ok"] is True
    assert (await page.call("inbox:sync", {"limit": 0}))["error"]["code"] == "INVALID_PAYLOAD"


async def test_a_refused_token_is_told_with_its_code(hub: Running, open_page: Open) -> None:
    page = await open_page(hub, hub.token("minji", ttl_s=-1))
    ((_, error),) = await page.until("connect_error")
    assert error["data"]["code"] == "TOKEN_EXPIRED"
    assert error["message"]


async def test_it_stays_away_when_the_limit_took_its_place(
    settings: Settings, open_page: Open
) -> None:
    """A client that came back by itself would push out the next one, for ever."""
    async with running(with_figures(settings, max_per_user=1)) as hub:
        first = await open_page(hub, hub.token("minji"))
        await first.until("ready")
        second = await open_page(hub, hub.token("minji"))
        await second.until("ready")
        assert (await first.until("disconnect"))[-1][1] == "io server disconnect"
        await first.close()
        await second.close()


@pytest.mark.fault(3)
async def test_it_outlives_an_event_that_it_cannot_decode(
    hub: Running, redis_url: str, open_page: Open, record_property: Callable[[str, object], None]
) -> None:
    """Eleven binary parts: refused where they are published, passed over from other servers, and
    one that stands in the log already costs the recovery once and not the client."""
    page = await open_page(hub, hub.token("minji"))
    await page.until("ready")
    data = {str(number): b"1" for number in range(11)}
    redis, room = hub.domain.redis, "user:minji"
    other = Broadcast(event="x:photos", args=[data], rooms=(room,))
    async with Emitter.connect(redis_url) as emitter:
        with pytest.raises(Untellable) as refused:
            await emitter.emit("x:photos", data, room=room)
    await redis.publish(Channels().room("/", room), encode_broadcast(other))
    await tell(hub, "minji", 1)
    assert [name for name, _ in await page.until("news")] == ["news"]
    hub.door.node.server.cut(only(hub))
    await _poison(hub, room, other)
    heard = await page.until("ready")
    assert [data for name, data in heard if name == "disconnect"] == ["transport close"]
    assert [data["recovered"] for name, data in heard if name == "connect"] == [False]
    await tell(hub, "minji", 3)
    assert [data["n"] for name, data in await page.until("news") if name == "news"] == [3]
    record_property("seen", f"emitter: {refused.value.code}; in the log: recovered false")


async def _poison(hub: Running, room: str, broadcast: Broadcast) -> None:
    """Into the log as an emitter of an older version would have written it."""
    redis: Any = hub.domain.redis
    keys = hub.domain.keys
    [(last, _)] = await redis.xrevrange(keys.room_log("/", room), count=1)
    epoch, _, number = last.decode().partition("-")
    [(_, packed)] = encode_open(broadcast)
    entry = {"p": last, "m": packed}
    await redis.xadd(keys.room_log("/", room), entry, f"{epoch}-{int(number) + 1}")
    await redis.hincrby(keys.epoch, "number", 1)
