"""A real worker process killed with -9 in the middle of a push, and the one that takes over."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hub.domain.context import Domain
from hub.domain.inbox import URGENT_KIND
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.workers.conftest import add_person, deliveries, notify

TAKEN_OVER_S = 25
"""A claim is stale after 10 s, and looked at every 5."""


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"PUSH_TIMEOUT": "8000", "LOG_FORMAT": "json", "LOG_LEVEL": "info"}


@asynccontextmanager
async def worker(environ: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """`dongne worker` as a process of its own, up and claiming."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hub.cli",
        "worker",
        env={"PATH": os.environ["PATH"], **environ},
        stdout=asyncio.subprocess.PIPE,
    )
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


async def _kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def test_killed_before_it_called_the_provider_there_is_one_push(
    environ: dict[str, str], domain: Domain, fcm: FakeFcm
) -> None:
    await add_person(domain, "bora")
    fcm.arm(Fault("token", "hold"))
    async with worker(environ) as first:
        await notify(domain, "bora")
        await fcm.wait_held(10)
        assert await deliveries(domain, "push") == [("push", "sending", None)]
        await _kill(first)
    async with worker(environ) as second:
        await fcm.wait(lambda: len(fcm.received) > 0, TAKEN_OVER_S)
        await _settled(domain)
        assert second.returncode is None
    assert second.returncode == 0
    assert len(fcm.received) == 1
    assert await deliveries(domain, "push") == [("push", "sent", None)]


async def test_killed_between_answer_and_row_there_are_two_at_most_and_one_on_the_screen(
    environ: dict[str, str], domain: Domain, fcm: FakeFcm
) -> None:
    await add_person(domain, "bora")
    fcm.arm(Fault("send", "hang", taken=True))
    async with worker(environ) as first:
        told = await notify(domain, "bora", kind=URGENT_KIND)
        await fcm.wait(lambda: len(fcm.received) == 1, 10)
        await _kill(first)
    async with worker(environ):
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
