"""A real worker process killed with -9 in the middle of a push, and the one that takes over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.databases import fresh_database
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.forked import Forked, run_forked
from tests.workers import quick_worker
from tests.workers.conftest import add_person, deliveries, notify

TAKEN_OVER_S = 10
"""A claim is stale after 1.5 s, and looked at every 0.5 (tests.workers.quick_worker)."""


@dataclass
class Scene:
    """What a story has for itself: stores, a provider, and what a worker is told of them."""

    environ: dict[str, str]
    domain: Domain
    fcm: FakeFcm


@asynccontextmanager
async def scene(environ: dict[str, str], postgres_url: str, folder: Path) -> AsyncIterator[Scene]:
    folder.mkdir()
    life = Lifecycle()
    async with fresh_database(postgres_url) as url, FakeFcm(folder) as fcm:
        own = environ | {
            "DATABASE_URL": url,
            "REDIS_PREFIX": f"{folder.name}:",
            "ADAPTER_KEY": folder.name,
            "FCM_CREDENTIALS_FILE": str(fcm.credentials_file),
            "FCM_URL": fcm.url,
            "PUSH_TIMEOUT": "3000",  # a claimed row is leased for 2 s more than this
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "info",
        }
        try:
            yield Scene(own, await open_domain(life, Settings.load(own)), fcm)
        finally:
            await life.close()


@asynccontextmanager
async def worker(environ: dict[str, str]) -> AsyncIterator[Forked]:
    """A worker as a process of its own, up and claiming."""
    env = {"PATH": os.environ["PATH"], **environ}
    process = await run_forked(quick_worker.main, env=env, stderr=2)
    assert process.stdout is not None
    try:
        await asyncio.wait_for(_until_ready(process.stdout), 20)
        draining = asyncio.create_task(process.stdout.read())
        yield process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 15)
        await draining
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _until_ready(output: asyncio.StreamReader) -> None:
    async for line in output:
        if b"worker ready" in line:
            return
    raise AssertionError("the worker ended before it was ready")


async def _kill(process: Forked) -> None:
    process.kill()
    await process.wait()


async def test_the_push_of_a_killed_worker(
    environ: dict[str, str], postgres_url: str, tmp_path: Path
) -> None:
    """Both at once, each in a scene of its own: a claim takes its time to become stale."""

    async def play(number: int, story: Callable[[Scene], Awaitable[None]]) -> None:
        async with scene(environ, postgres_url, tmp_path / f"scene{number}") as own:
            await story(own)

    stories = (
        killed_before_it_called_the_provider_there_is_one_push,
        killed_between_answer_and_row_there_are_two_at_most_and_one_on_the_screen,
    )
    async with asyncio.TaskGroup() as group:
        for number, story in enumerate(stories):
            group.create_task(play(number, story))


async def killed_before_it_called_the_provider_there_is_one_push(own: Scene) -> None:
    domain, fcm = own.domain, own.fcm
    await add_person(domain, "bora")
    fcm.arm(Fault("token", "hold"))
    async with worker(own.environ) as first:
        await notify(domain, "bora")
        await fcm.wait_held(10)
        assert await deliveries(domain, "push") == [("push", "sending", None)]
        await _kill(first)
    async with worker(own.environ) as second:
        await fcm.wait(lambda: len(fcm.received) > 0, TAKEN_OVER_S)
        await _settled(domain)
        assert second.returncode is None
    assert second.returncode == 0
    assert len(fcm.received) == 1
    assert await deliveries(domain, "push") == [("push", "sent", None)]


async def killed_between_answer_and_row_there_are_two_at_most_and_one_on_the_screen(
    own: Scene,
) -> None:
    domain, fcm = own.domain, own.fcm
    await add_person(domain, "bora")
    fcm.arm(Fault("send", "hang", taken=True))
    async with worker(own.environ) as first:
        told = await notify(domain, "bora", kind=QUESTION_URGENT.name)
        await fcm.wait(lambda: len(fcm.received) == 1, 10)
        await _kill(first)
    async with worker(own.environ):
        await fcm.wait(lambda: len(fcm.received) == 2, TAKEN_OVER_S)
        await _settled(domain)
    assert len(fcm.received) == 2
    android = [message["message"]["android"] for message in fcm.received]
    assert {one["collapse_key"] for one in android} == {str(told.id)}
    assert {one["notification"]["tag"] for one in android} == {str(told.id)}
    assert await deliveries(domain, "push") == [("push", "sent", None)]


async def _settled(d: Domain) -> None:
    async with asyncio.timeout(10):
        while await d.pool.fetchval("SELECT count(*) FROM deliveries WHERE status = 'sending'"):
            await asyncio.sleep(0.05)
