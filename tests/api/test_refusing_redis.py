"""A Redis that answers and refuses: what does not need it goes on, the rest says come back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from hub.domain.assembly import open_domain
from hub.domain.people import sessions
from hub.plumbing.http import health
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.limits import fleet as limits
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.metrics import LIMITS_ALONE, REGISTRY
from tests.api.conftest import PREFIX, Door, serve
from tests.hub.plumbing.stores.redis_server import RedisServer
from tests.hub.plumbing.stores.refusals import STATES, refuse, refusing_server, relent, tell

pytestmark = pytest.mark.fault(7)

QUESTIONS = f"{PREFIX}/questions"
GOOD = {"title": "t", "content": "c"}
READ_REFUSED = {"MASTERDOWN", "NOPERM"}
"""States in which nobody can say whether a token was revoked."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = await refusing_server(tmp_path / "refusing")
    yield server
    await server.kill()


@pytest.fixture
async def refused(
    server: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Door]:
    monkeypatch.setattr(limits, "PAUSE_S", 0.05)
    monkeypatch.setattr(health, "HOLD_S", 0.05)
    part = settings.redis.model_copy(update={"url": SecretStr(server.url)})
    settings = replace(settings, redis=part)
    life = Lifecycle()
    domain = await open_domain(life, settings)
    key = await sessions.add_service(domain, "qa-service")
    runner, url = await serve(domain, settings)
    async with aiohttp.ClientSession() as http:
        yield Door(url, domain, http, key)
    await runner.close()
    await life.close()
    LIMITS_ALONE.set(0)


async def checked(door: Door, *, redis: bool) -> None:
    """Until readiness says so."""
    async with asyncio.timeout(10):
        while True:
            ready = await door.call("GET", "/health/ready")
            assert ready.status == 200, "the api needs PostgreSQL alone"
            if ready.body["checks"] == {"database": True, "redis": redis}:
                return
            await asyncio.sleep(0.05)


async def is_well(door: Door) -> None:
    """Limits are shared again, and nobody had to call for it."""
    async with asyncio.timeout(10):
        while REGISTRY.get_sample_value("limits_alone"):
            await asyncio.sleep(0.01)
    await checked(door, redis=True)
    login = await door.call("POST", f"{PREFIX}/auth/sessions", {"userId": "u1"}, as_=door.key)
    assert login.status == 200
    assert "X-RateLimit-Remaining" in login.headers


@pytest.mark.parametrize("word", STATES)
async def test_what_needs_no_redis_goes_on_and_the_rest_says_come_back(
    word: str,
    server: RedisServer,
    refused: Door,
    record_property: Callable[[str, object], None],
) -> None:
    question = await refused.ask()
    await refuse(server, word)
    login = await refused.call("POST", f"{PREFIX}/auth/sessions", {"userId": "u1"}, as_=refused.key)
    assert login.status == 200
    assert (await refused.call("GET", f"{PREFIX}/regions")).status == 200
    read = await refused.call("GET", f"{QUESTIONS}/{question['id']}", as_="asker")
    assert read.status == 200
    write = await refused.call("POST", QUESTIONS, GOOD, as_="asker")
    if word in READ_REFUSED:
        assert (write.status, write.code) == (503, "UNAVAILABLE")
        assert int(write.headers["Retry-After"]) >= 1
    else:
        assert write.status == 201, "it is written; what is told waits in the outbox"
    await checked(refused, redis=False)
    waiting = await refused.count("outbox", "published_at IS NULL")
    await relent(server, word)
    await is_well(refused)
    assert (await refused.call("POST", QUESTIONS, GOOD, as_="asker")).status == 201
    record_property("seen", f"{word}: login 200, write {write.status}, in the outbox {waiting}")


async def test_a_redis_that_does_not_answer_at_all(server: RedisServer, refused: Door) -> None:
    pause_s = 5
    await tell(server, (("CLIENT", "PAUSE", str(pause_s * 1000), "ALL"),))
    asked = asyncio.get_running_loop().time()
    login, regions, ready = await asyncio.gather(
        refused.call("POST", f"{PREFIX}/auth/sessions", {"userId": "u1"}, as_=refused.key),
        refused.call("GET", f"{PREFIX}/regions"),
        refused.call("GET", "/health/ready"),
    )
    assert asyncio.get_running_loop().time() - asked < pause_s - 1
    assert (login.status, regions.status) == (200, 200)
    assert ready.body["checks"] == {"database": True, "redis": False}
    again = asyncio.get_running_loop().time()
    for _ in range(5):
        assert (await refused.call("GET", f"{PREFIX}/regions")).status == 200
    assert asyncio.get_running_loop().time() - again < 1.0, "one wait, not one a call"
    await is_well(refused)
