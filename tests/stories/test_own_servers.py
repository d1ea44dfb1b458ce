"""`dongne up` on PostgreSQL and Valkey of its own: killed ones come back, everything goes on."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hub.commands import credentials
from hub.domain.context import Domain
from hub.domain.people.sessions import add_service
from tests.client import Person, Refused, Rest, rest
from tests.conftest import SECRETS
from tests.stories.processes import Door, doors

pytestmark = pytest.mark.story

OUTAGE_S = 15.0
"""A restart takes a second; what waits for one tries again within two more."""

ENV = {
    "APP_ENV": "development",
    "LOG_LEVEL": "warn",
    "LOG_FORMAT": "json",
    "PORT": "0",
    "API_PORT": "0",
    "METRICS_PORT": "0",
    "UNSEEN_PUSH": "1",
    "UNSEEN_EMAIL": "1",
    "SHUTDOWN_TIMEOUT": "8000",
}


class Up:
    """A running `dongne up`, its two servers, and a service that calls it."""

    def __init__(self, door: Door, folder: Path, service: Rest, catcher: str) -> None:
        self.door = door
        self.service = service
        self._folder = folder
        self._catcher = catcher

    def home(self, server: str) -> Path:
        return (self._folder / server / "server").resolve()

    def pid(self, server: str) -> int:
        pattern = {"postgres": "data-*/postmaster.pid", "valkey": "data/server.pid"}[server]
        [path] = self.home(server).glob(pattern)
        return int(path.read_text().split()[0])

    def kill(self, server: str) -> None:
        os.kill(self.pid(server), signal.SIGKILL)

    async def again(self, method: str, path: str, body: Any) -> Any:
        """As a service calls that comes back as it is told to."""
        async with asyncio.timeout(OUTAGE_S):
            while True:
                try:
                    return await self.service.call(method, path, body)
                except Refused as refused:
                    assert refused.status == 503, refused
                    await asyncio.sleep(0.1)

    async def mailed(self, title: str) -> None:
        """Until the worker has mailed it to the catcher."""
        async with aiohttp.ClientSession() as http, asyncio.timeout(OUTAGE_S):
            while True:
                async with http.get(f"{self._catcher}/caught") as answer:
                    if title in await answer.text():
                        return
                await asyncio.sleep(0.1)

    def lines(self) -> list[dict[str, Any]]:
        told = self.door.output().splitlines()
        return [json.loads(line) for line in told if line.startswith("{")]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Up]:
    door = Door("up", {**ENV, "EMBEDDED_DIR": str(folder / "d")}, folder / "up.log", executed=True)
    async with doors(door):
        found = json.loads((folder / "d" / credentials.NAME).read_text())
        async with rest(door.url, found["serviceKey"]) as service:
            yield Up(door, folder / "d", service, found["catcherUrl"])


@pytest.mark.fault(31)
async def test_everything_goes_on_after_its_servers_were_killed(
    tmp_path: Path, record_property: Any
) -> None:
    async with running(tmp_path) as up:
        local = await up.service.local("local", 33.489, 126.493)
        person = Person(up.door.url, local.bearer)
        await person.connect()
        took = {}
        for n, server in enumerate(("postgres", "valkey", "postgres", "valkey")):
            before = up.pid(server)
            up.kill(server)
            begun = asyncio.get_running_loop().time()
            note = {"userId": "local", "kind": "notice", "title": f"told {n}", "body": "b"}
            await up.again("POST", "/notifications", note)
            while (await person.expect("notification:new", OUTAGE_S))["title"] != note["title"]:
                pass
            took[server] = round(asyncio.get_running_loop().time() - begun, 1)
            await up.mailed(note["title"])
            async with asyncio.timeout(OUTAGE_S):
                while up.pid(server) == before:
                    await asyncio.sleep(0.05)
        assert "(disconnect)" not in person.names()
        await person.close()
        lines = up.lines()
    record_property("seen", f"told over the same socket after -9: {took} s")
    assert {line["level"] for line in lines} <= {"warning", "error"}
    ends = [line["server"] for line in lines if line["event"] == "a server of our own ended"]
    assert ends.count("PostgreSQL") >= 2
    assert ends.count("Valkey") == 2
    assert len(lines) < 80, "a line each second"


@pytest.mark.fault(30)
async def test_no_key_is_made_outside_development(
    database_url: str, redis_url: str, domain: Domain, tmp_path: Path
) -> None:
    """One that was disabled stays disabled, and nothing is written for scripts."""
    await add_service(domain, "local")
    await domain.pool.execute("UPDATE service_clients SET disabled_at = now()")
    kept = await domain.pool.fetchrow("SELECT key_hash, disabled_at FROM service_clients")
    env = ENV | SECRETS | {"APP_ENV": "staging", "DATABASE_SSL": "false", "HOST": "127.0.0.1"}
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "EMBEDDED_DIR": str(tmp_path)}
    async with doors(Door("up", env | stores, tmp_path / "up.log")):
        rows = await domain.pool.fetch("SELECT key_hash, disabled_at FROM service_clients")
    assert rows == [kept]
    assert not (tmp_path / credentials.NAME).exists()
