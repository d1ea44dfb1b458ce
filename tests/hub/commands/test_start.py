"""What a start does beside opening its doors, and what PORT tells to whoever reaches it."""

import asyncio
import gc
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from hub.commands.open_hub import open_hub_alone
from hub.embedded import Postgres
from hub.engine.session.process import INTERVAL, THRESHOLD
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import latest, migrate
from tests.conftest import FLAVOUR

ROOT = Path(__file__).parents[3]
READY = re.compile(r"dongne (\w+) (?:ready|listens) on (\S+)")


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was before: what stood before the tests is frozen, and what they made is not."""
    before = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
    gc.collect()
    gc.freeze()


async def text(url: str) -> tuple[int, str]:
    async with aiohttp.request("GET", url) as answer:
        return answer.status, await answer.text()


@pytest.mark.usefixtures("collector")
@pytest.mark.fault(9, 18)
async def test_dongne_hub_starts_as_the_bench_measures_it(
    settings: Settings, capsys: pytest.CaptureFixture[str], record_property: Any
) -> None:
    """The heap of the start is frozen, and how late the loop is can be read: a loop that stood
    says so. The figures are not on PORT, which is public."""
    process = settings.process.model_copy(update={"shutdown_drain_ms": 0})
    life = Lifecycle()
    try:
        await open_hub_alone(life, replace(settings, process=process), None)
        said = dict(READY.findall(capsys.readouterr().out))
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == THRESHOLD
        lag = 0.0
        async with asyncio.timeout(10):
            while lag < 0.15:
                time.sleep(INTERVAL + 0.2)  # the loop stands: what is measured
                await asyncio.sleep(0)
                _, figures = await text(f"{said['metrics']}/metrics")
                lag = float(re.findall(r"^engine_loop_lag_seconds (\S+)$", figures, re.M)[0])
        record_property("seen", f"engine_loop_lag_seconds {lag:.2f}")
        for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics"):
            status, _ = await text(said["hub"] + path)
            assert status == 404, path
        assert (await text(f"{said['hub']}/health/live"))[0] == 200
    finally:
        await life.close()


async def health(url: str, what: str) -> tuple[int, Any]:
    async with aiohttp.request("GET", f"{url}/health/{what}") as answer:
        return answer.status, await answer.json()


@pytest.mark.usefixtures("collector")
async def test_a_hub_starts_without_postgres_and_says_what_is_there(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes sockets as one does that loses Postgres later; once that is back, it says whether
    the database has all that this version needs."""
    server = Postgres(tmp_path / "postgres", durable=False, prefer=FLAVOUR)
    url = await server.start()
    conn = await asyncpg.connect(url)
    await migrate(conn)
    await conn.execute("DELETE FROM schema_migrations WHERE version = $1", latest())
    await conn.close()
    await server.stop()
    process = settings.process.model_copy(update={"shutdown_drain_ms": 0})
    away = settings.database.model_copy(update={"url": SecretStr(url)})
    life = Lifecycle()
    try:
        await open_hub_alone(life, replace(settings, process=process, database=away), None)
        hub = dict(READY.findall(capsys.readouterr().out))["hub"]
        status, ready = await health(hub, "ready")
        assert (status, ready["checks"]) == (200, {"database": False, "redis": True})
        assert (await health(hub, "startup"))[0] == 200
        conn = await asyncpg.connect(await server.start())
        async with asyncio.timeout(20):
            while (await health(hub, "startup"))[0] == 200:
                await asyncio.sleep(0.05)
        await conn.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, '', '')", latest()
        )
        await conn.close()
        assert await health(hub, "startup") == (200, {"status": "started", "initialized": True})
    finally:
        await life.close()
        await server.stop()


@pytest.mark.fault(18)
def test_the_shipped_nginx_hands_on_to_hubs_and_the_api() -> None:
    """Sockets go to ports of hubs, the rest to the api's; what has the figures is answered here."""
    folder = ROOT / "deploy" / "nginx"
    ports = {
        name: [int(port) for port in re.findall(r"server 127\.0\.0\.1:(\d+)", servers)]
        for name, servers in re.findall(
            r"upstream (\w+) \{(.*?)\n\}", (folder / "upstreams.conf").read_text("utf-8"), re.S
        )
    }
    given = Settings.load({}, complete=False).web
    hubs = ports["dongne_hub_any"]
    assert hubs[0] == given.port
    assert len(set(hubs)) == len(hubs) >= 2
    assert ports["dongne_hub_sticky"] == hubs
    assert ports["dongne_api"] == [given.api_port]
    assert not {given.api_port, given.metrics_port} & set(hubs)
    metrics = re.search(
        r"location = /metrics \{\s+return 404;", (folder / "dongne.conf").read_text("utf-8")
    )
    assert metrics
