"""The proxies for real: two hubs and an api behind nginx, and behind HAProxy."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import socketio
from yarl import URL

from hub.commands import doctor
from hub.plumbing.settings.settings import Settings
from protocol.tokens import sign_access
from tests.client import Person
from tests.deploy.proxies import HAPROXY, NGINX, HAProxy, Nginx, Proxy
from tests.deploy.tree import DEPLOY
from tests.stories.processes import Door, environment

pytestmark = pytest.mark.story

PER_ADDRESS = 12
"""CONN_MAX_IP of this run: each test comes from an address of its own."""

PROXIES: list[type[Proxy]] = [*([Nginx] if NGINX else []), *([HAProxy] if HAPROXY else [])]

TRIES = {Nginx: 2, HAProxy: 1}
"""nginx asks nobody whether he is ready: a session may open on a node in its last moment, and then
the client comes back, as stock clients do."""


@dataclass
class Installation:
    hubs: dict[str, Door]
    api: Door
    settings: Settings

    def token(self) -> str:
        keys, now = self.settings.auth.token_keys, datetime.now(UTC)
        return sign_access(keys, "somebody", "user", now=now, ttl_s=600, jti=str(uuid4()))

    def metrics_urls(self) -> list[str]:
        found = (re.search(r"dongne metrics listens on (\S+)", door.output()) for door in
                 (*self.hubs.values(), self.api))  # fmt: skip
        return [match[1] for match in found if match]


@pytest.fixture
async def installation(
    database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Installation]:
    own = {
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "all",
        "TRUST_PROXY": "1",
        "CONN_MAX_IP": str(PER_ADDRESS),
        "CONN_MAX_USER": "100",
        "SHUTDOWN_TIMEOUT": "8000",
        "SHUTDOWN_DRAIN_MS": "1500",
    }
    env = environment(database_url, redis_url, **own)
    hubs = {name: Door("hub", env, tmp_path / name) for name in ("hub1", "hub2")}
    api = Door("api", env, tmp_path / "api")
    started = (*hubs.values(), api)
    try:
        await asyncio.gather(*(door.start() for door in started))
        yield Installation(hubs, api, Settings.load(env))
    finally:
        await asyncio.gather(*(door.kill() for door in started if door.alive))


@asynccontextmanager
async def behind(kind: type[Proxy], one: Installation, api: str = "") -> AsyncIterator[str]:
    """The URL of a proxy before the hubs and the api (or what stands in its place)."""
    proxy = kind({name: hub.url for name, hub in one.hubs.items()}, {"api": api or one.api.url})
    url = await proxy.start()
    try:
        yield url
    finally:
        await proxy.stop()


def from_address(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0)))


@pytest.mark.skipif(not PROXIES, reason="neither nginx nor haproxy on this machine")
async def test_an_installation_behind_each(installation: Installation) -> None:
    """One installation for all of it: its processes take seconds to start."""
    async with AsyncExitStack() as exits:
        urls = {
            kind: await exits.enter_async_context(behind(kind, installation)) for kind in PROXIES
        }
        for url in urls.values():
            assert await smoke(url) == "everything answers\n"
            await nothing_is_to_be_mended(url, installation)
            await routes_lead_to_both(url)
            await polling_stays_with_its_node(url, installation)
            await sockets_are_spread(url, installation)
            await nothing_is_forged(url, installation)
        for kind in PROXIES:
            for metrics in installation.metrics_urls():
                await figures_stay_inside(kind, installation, metrics)
        leaving = asyncio.create_task(installation.hubs["hub1"].stop())
        counts = await asyncio.gather(
            *(a_drain_refuses_nobody(url, installation, leaving, TRIES[kind])
              for kind, url in urls.items())
        )  # fmt: skip
        assert await leaving == 0
        assert min(counts) >= 4
        for url in urls.values():
            assert (await joined(url, installation, "websocket", 1)) == 1


async def smoke(url: str) -> str:
    """What deploy/release/smoke.py says of it."""
    program = DEPLOY / "release" / "smoke.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), url, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == (said != b"everything answers\n")
    return said.decode()


async def nothing_is_to_be_mended(url: str, one: Installation) -> None:
    """What `dongne doctor` says of it, but for the wait of 25 s on a quiet socket."""
    async with from_address("127.0.0.3") as http:
        path = doctor.Path(URL(url), http, one.token())
        ill = [finding async for finding in doctor.examine(path, doctor.QUICK) if not finding.well]
    assert ill == []


async def routes_lead_to_both(url: str) -> None:
    async with from_address("127.0.0.2") as http:
        for path in ("/api/v1/regions", "/docs", "/health/live", "/api/v1/health/ready"):
            async with http.get(url + path) as answer:
                assert answer.status == 200, path
        for path, status in (("/nothing", 404), ("/api/v1/notifications/somebody", 401)):
            async with http.get(url + path) as answer:
                assert answer.status == status, path
                assert "code" in (await answer.json())["error"], path
        async with http.get(url + "/socket.io/?EIO=4&transport=polling") as answer:
            assert answer.status == 200
            assert json.loads((await answer.text())[1:])["upgrades"] == ["websocket"]


async def polling_stays_with_its_node(url: str, one: Installation) -> None:
    """Many requests of each session, and the upgrade of one that began so."""
    for transports in (["polling"], ["polling"], ["polling", "websocket"]):
        async with from_address("127.0.0.3") as http:
            client = socketio.AsyncClient(reconnection=False, http_session=http)
            await client.connect(url, auth={"token": one.token()}, transports=transports)
            for _ in range(5):
                answer = await client.call("inbox:sync", {"after": 0}, timeout=5)
                assert answer["ok"] is True
            assert client.transport() == transports[-1]
            await client.disconnect()


async def sockets_are_spread(url: str, one: Installation) -> None:
    people = [Person(url, one.token()) for _ in range(6)]
    await asyncio.gather(*(person.connect() for person in people))
    counts = []
    async with aiohttp.ClientSession() as http:
        for metrics in one.metrics_urls()[:2]:
            async with http.get(f"{metrics}/metrics") as answer:
                text = await answer.text()
                found = re.search(r'^active_connections{namespace="/"} (\S+)', text, re.MULTILINE)
                counts.append(float(found[1]) if found else 0.0)
    assert sum(counts) == 6
    assert min(counts) >= 2
    for person in people:
        await person.close()


FORGED = {
    "X-Forwarded-For": "203.0.113.9, 198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "elsewhere.example",
    "Forwarded": "for=203.0.113.9;proto=https",
    "X-Real-IP": "203.0.113.9",
}


async def nothing_is_forged(url: str, one: Installation) -> None:
    async with from_address("127.0.0.4") as http:
        # It would say it to who comes by https, and would let the other host's pages read.
        headers = {**FORGED, "Origin": "https://elsewhere.example"}
        async with http.get(f"{url}/api/v1/regions", headers=headers) as answer:
            assert "Strict-Transport-Security" not in answer.headers
            assert "Access-Control-Allow-Origin" not in answer.headers
        lines = [json.loads(line) for line in one.api.output().splitlines() if "127.0.0.4" in line]
        assert {line["path"] for line in lines} == {"/api/v1/regions"}
        assert all(line["ip"] == "127.0.0.4" for line in lines)
        assert "203.0.113.9" not in one.api.output()
        # One address has at most so many sockets on a node, whatever it says that it is.
        taken, opened = 0, []
        for number in range(2 * PER_ADDRESS + 4):
            forged = {**FORGED, "X-Forwarded-For": f"203.0.113.{number}"}
            try:
                target = url + "/socket.io/?EIO=4&transport=websocket"
                opened.append(await http.ws_connect(target, headers=forged))
                taken += 1
            except aiohttp.ClientError:
                pass
        for socket in opened:
            await socket.close()
        assert PER_ADDRESS <= taken <= 2 * PER_ADDRESS


async def a_drain_refuses_nobody(
    url: str, one: Installation, leaving: "asyncio.Task[int]", tries: int
) -> int:
    """From SIGTERM until the node has gone, whoever comes is taken, by either transport."""
    count = 0
    while not leaving.done():
        for transport in ("websocket", "polling"):
            assert await joined(url, one, transport, tries) <= tries
            count += 1
    return count


async def joined(url: str, one: Installation, transport: str, tries: int) -> int:
    """How many tries a client took; raises what the last one raised."""
    for number in range(1, tries + 1):
        async with from_address("127.0.0.5") as http:
            client = socketio.AsyncClient(reconnection=False, http_session=http)
            try:
                await client.connect(url, auth={"token": one.token()}, transports=[transport])
            except socketio.exceptions.ConnectionError:
                if number == tries:
                    raise
                continue
            await client.disconnect()
            return number
    raise AssertionError


async def figures_stay_inside(kind: type[Proxy], one: Installation, metrics: str) -> None:
    """Where the api's place is taken by a door that has them."""
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{metrics}/metrics") as answer:
            assert answer.status == 200
        async with behind(kind, one, api=metrics) as url:
            async with http.get(f"{url}/health/live") as answer:
                assert answer.status == 200  # it is there, indeed
            for path in ("/metrics", "/metrics?x=1", "/%6detrics", "//metrics"):
                async with http.get(f"{url}{path}") as answer:
                    assert answer.status == 404, path
                    assert "active_connections" not in await answer.text()
            assert "GET /api/v1/regions: 404" in await smoke(url)  # it sees what is missing
