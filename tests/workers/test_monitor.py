"""What can be reached, as gauges; and the alert: signed, tried again, told by one worker."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from hub.domain.context import Domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.metrics import REGISTRY
from workers.alerts import SIGNATURE
from workers.channels.outcome import Temporary
from workers.channels.provider import Providers
from workers.monitor import Dependency, Monitor, dependencies, open_monitor

SECRET = "a secret of the receiver's, 32 characters and more"


class Receiver:
    """Checks the signature as a receiver would, and answers by its list, then 204."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.asked = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.read()
        at, _, sent = request.headers[SIGNATURE].partition(",v1=")
        mac = hmac.new(SECRET.encode(), at[2:].encode() + b"." + body, hashlib.sha256)
        assert hmac.compare_digest(mac.hexdigest(), sent)
        status = self.answers.pop(0) if self.answers else 204
        if status == 204:
            self.facts.append(orjson.loads(body))
        return web.Response(status=status, headers={"Location": self.url + "/moved"})


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    receives = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receives.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receives.url = f"http://127.0.0.1:{port}/alerts"
    try:
        yield receives
    finally:
        await runner.cleanup()


def up(name: str) -> float | None:
    return REGISTRY.get_sample_value("dependency_up", {"dependency": name})


def given(environ: Mapping[str, str], url: str, **more: str) -> Settings:
    return Settings.load(
        {**environ, "ALERT_WEBHOOK_URL": url, "ALERT_WEBHOOK_SECRET": SECRET, **more}
    )


async def test_each_dependency_has_its_gauge(domain: Domain, providers: Providers) -> None:
    monitor = Monitor(domain, dependencies(domain, providers), None)
    assert await monitor.look() == {"database": True, "redis": True, "fcm": True, "smtp": True}
    breaker = providers.named("fcm").breaker

    async def fails() -> Temporary:
        return Temporary("http_503")

    for _ in range(5):
        await breaker.call(fails)
    assert (await monitor.look())["fcm"] is False
    assert (up("fcm"), up("smtp"), up("database")) == (0, 1, 1)


async def test_a_dependency_that_hangs_is_away(domain: Domain) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    monitor = Monitor(domain, {"slow": Dependency(hangs, 0.05)}, None)
    assert await asyncio.wait_for(monitor.look(), 5) == {"slow": False}
    assert up("slow") == 0


class Switch:
    def __init__(self) -> None:
        self.works = True

    async def ask(self) -> None:
        if not self.works:
            raise ConnectionError


async def test_an_outage_and_its_end_are_told_once_by_one_of_many_workers(
    life: Lifecycle, domain: Domain, environ: dict[str, str], providers: Providers
) -> None:
    async with receiver() as receives:
        settings = given(environ, receives.url, OUTBOUND_ALLOW="127.0.0.1")
        switch = Switch()
        monitors = []
        for _ in range(3):
            monitor = await open_monitor(life, settings, domain, providers)
            monitor._found = {"database": Dependency(switch.ask, 1)}
            monitors.append(monitor)
        for works in (True, False, False, True, True):
            switch.works = works
            await asyncio.gather(*(monitor.look() for monitor in monitors))
        states = [(fact["dependency"], fact["state"]) for fact in receives.facts]
        assert states == [("database", "down"), ("database", "up")]
        assert receives.facts[0]["id"] == receives.facts[1]["id"]
        switch.works = False
        await monitors[1].look()
        assert receives.facts[2]["id"] != receives.facts[0]["id"], "another outage"


@pytest.mark.parametrize(
    ("answers", "asked", "taken"),
    [([500, 503], 3, 1), ([500] * 9, 3, 0), ([302], 2, 1), ([], 1, 1)],
)
@pytest.mark.refused
async def test_what_is_not_taken_is_told_again_and_no_redirect_is_followed(
    life: Lifecycle,
    domain: Domain,
    environ: dict[str, str],
    providers: Providers,
    answers: list[int],
    asked: int,
    taken: int,
) -> None:
    async with receiver() as receives:
        receives.answers = answers
        settings = given(environ, receives.url, OUTBOUND_ALLOW="127.0.0.1")
        monitor = await open_monitor(life, settings, domain, providers)
        assert monitor._tell is not None
        assert await monitor._tell({"state": "down"}) is bool(taken)
        assert (receives.asked, len(receives.facts)) == (asked, taken)


@pytest.mark.refused
async def test_a_private_address_is_never_told(
    life: Lifecycle, domain: Domain, environ: dict[str, str], providers: Providers
) -> None:
    async with receiver() as receives:
        for url in (receives.url, receives.url.replace("127.0.0.1", "localhost")):
            monitor = await open_monitor(life, given(environ, url), domain, providers)
            assert monitor._tell is not None
            assert await monitor._tell({"state": "down"}) is False
        assert receives.asked == 0
