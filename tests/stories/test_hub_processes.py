"""`dongne hub --processes 3`: real processes, killed and stopped, and stock clients on one port."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.domain.context import Domain
from protocol.events import Emit
from protocol.names import question_room
from tests.forked import STDOUT, dongne
from tests.stories.hubs import COUNT, Hubs, gone, phones
from tests.stories.processes import environment

pytestmark = pytest.mark.story

PHONES = 30

Start = Callable[..., Any]


@pytest.fixture
async def start(database_url: str, redis_url: str) -> AsyncIterator[Start]:
    """Runs `dongne hub --processes 3`; returns when it is ready, unless that is not awaited."""
    own = {
        "PATH": os.environ["PATH"],
        "LOG_FORMAT": "json",
        "DB_POOL_MIN": "1",
        "SOCKET_TRANSPORTS": "websocket",
        "SHUTDOWN_TIMEOUT": "12000",
        "SHUTDOWN_DRAIN_MS": "0",
    }
    env = environment(database_url, redis_url, **own)
    running: list[Hubs] = []

    async def start(*words: str, awaited: bool = True, **more: str) -> Hubs:
        words = words or ("--processes", str(COUNT))
        process = await dongne("hub", *words, env=env | more, stderr=STDOUT)
        running.append(Hubs(process))
        if awaited:
            await running[-1].said("dongne hub ready on ")
        return running[-1]

    yield start
    for one in running:
        await one.close()


async def tell(domain: Domain, question: str, number: int) -> None:
    """As any process publishes: through the outbox's emitter."""
    id = str(uuid4())
    room = question_room(question)
    emit = Emit(id=id, event="news", rooms=(room,), data={"id": id, "n": number})
    await domain.outbox._publish([emit])


async def figures(hubs: Hubs) -> dict[str, float]:
    """The sum over all labels of every sample of the parent's exposition."""
    sums: Counter[str] = Counter()
    async with aiohttp.request("GET", f"{hubs.metrics_url}/metrics") as answer:
        assert answer.status == 200
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                sums[sample.name] += sample.value  # type: ignore[assignment]
    return dict(sums)


async def status(url: str) -> int:
    async with aiohttp.request("GET", url) as answer:
        return answer.status


async def until_status(url: str, wanted: int) -> None:
    """What readiness found holds for a second."""
    async with asyncio.timeout(10):
        while await status(url) != wanted:
            await asyncio.sleep(0.1)


def sockets_of(pid: int, port: int) -> int:
    """Established connections of a process on that port of its own, as the kernel knows them."""
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    here = {row[9] for row in rows if row[3] == "01" and int(row[1].split(":")[1], 16) == port}
    held = 0
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held += handle.readlink().name.removeprefix("socket:[").rstrip("]") in here
    return held


async def nodes(domain: Domain) -> int:
    """Nodes with a lease in Redis; those that left in order have none."""
    return int(await domain.redis.zcard(domain.keys.nodes))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_an_event_reaches_everybody_once_and_the_figures_are_one(
    start: Start, domain: Domain
) -> None:
    hubs = await start()
    pids = await hubs.ready()
    assert len(set(pids)) == COUNT
    assert await nodes(domain) == COUNT
    async with phones(domain, hubs.url, PHONES) as (people, question):
        held = [sockets_of(pid, port_of(hubs.url)) for pid in pids]
        assert sum(held) == PHONES
        assert sum(1 for count in held if count) >= 2, held
        assert sockets_of(hubs.process.pid, port_of(hubs.url)) == 0
        for number in (1, 2):
            await tell(domain, question, number)
        for phone in people:
            await phone.hears(2)
        assert [phone.heard for phone in people] == [[1, 2]] * PHONES
        shown = await figures(hubs)
        assert shown["active_connections"] == PHONES
        assert shown["engine_opened_total"] == PHONES
        assert shown["socket_events_total"] == 2 * PHONES  # connect, question:join
        assert shown["socket_event_duration_seconds_count"] == 2 * PHONES
        assert shown["hub_processes_ready"] == COUNT
        assert shown["redis_connected"] == 1


async def test_a_killed_process_is_replaced_and_its_clients_recover(
    start: Start, domain: Domain
) -> None:
    hubs = await start()
    pids = await hubs.ready()
    async with phones(domain, hubs.url, PHONES) as (people, question):
        await tell(domain, question, 1)
        for phone in people:
            await phone.hears(1)
        before = await figures(hubs)
        port = port_of(hubs.url)
        held, victim = max((sockets_of(pid, port), pid) for pid in pids)
        os.kill(victim, signal.SIGKILL)
        await tell(domain, question, 2)
        for phone in people:
            await phone.hears(2)
        assert [phone.heard for phone in people] == [[1, 2]] * PHONES
        returned = [phone for phone in people if phone.lost]
        assert len(returned) == held
        for phone in returned:
            await phone.comes_back()
            assert phone.recovered == [False, True]

        (ended,) = await hubs.logged("a hub process ended unasked")
        assert (ended["pid"], ended["exitCode"]) == (victim, 128 + signal.SIGKILL)
        *_, fresh = await hubs.ready(COUNT + 1)
        assert fresh not in pids
        after = await figures(hubs)
        assert after["active_connections"] == PHONES
        assert after["engine_opened_total"] == PHONES + held
        assert after["hub_process_restarts_total"] == 1
        assert after["hub_processes_ready"] == COUNT
        backwards = {
            name: (before[name], after[name])
            for name in before
            if name.endswith(("_total", "_bucket", "_count", "_sum")) and after[name] < before[name]
        }
        assert not backwards
    assert await hubs.stop() == 0


async def test_starting_again_waits_longer_each_time(start: Start) -> None:
    hubs = await start("--processes", "2")
    for count in (3, 4):
        *_, newest = await hubs.ready(count - 1)
        os.kill(newest, signal.SIGKILL)
    *_, newest = await hubs.ready(4)
    os.kill(newest, signal.SIGKILL)
    ends = await hubs.logged("a hub process ended unasked", 3)
    assert [one["restartAfterS"] for one in ends] == [0.5, 1.0, 2.0]
    assert await hubs.stop() == 0  # while it waits


async def test_a_signal_during_the_start_ends_it(start: Start) -> None:
    hubs = await start("--processes", "2", awaited=False)
    await hubs.said("dongne metrics listens on ")
    assert await hubs.stop() == 0
    assert not [line for line in hubs.lines if line.startswith("dongne hub ready")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_and_leaves_no_process(
    start: Start, domain: Domain, number: signal.Signals
) -> None:
    hubs = await start("--processes", "2")
    pids = await hubs.ready(2)
    async with phones(domain, hubs.url, 6, returns=False):
        assert await hubs.stop(number) == 0
    await gone(*pids)
    drained = await hubs.logged("sockets drained", 2)
    assert sum(one["sockets"] for one in drained) == 6
    assert {one["pid"] for one in drained} == set(pids)
    assert await nodes(domain) == 0


async def test_no_process_outlives_a_killed_parent(start: Start, domain: Domain) -> None:
    hubs = await start("--processes", "2")
    pids = await hubs.ready(2)
    async with phones(domain, hubs.url, 6, returns=False):
        os.kill(hubs.process.pid, signal.SIGKILL)
        await gone(*pids)
    assert await hubs.ended() == -signal.SIGKILL
    assert await nodes(domain) == 0  # they left in order


async def test_one_that_hangs_is_killed_in_time_and_told_by_the_exit_code(start: Start) -> None:
    hubs = await start("--processes", "2", SHUTDOWN_TIMEOUT="3000")
    one, _ = await hubs.ready(2)
    os.kill(one, signal.SIGSTOP)
    assert await hubs.stop() == 128 + signal.SIGKILL
    (killed,) = await hubs.logged("a hub process did not stop in time and is killed")
    assert killed["pid"] == one


async def test_health_is_that_of_all(start: Start) -> None:
    hubs = await start("--processes", "2")
    own, shared = hubs.metrics_url, hubs.url
    for path in ("/health/live", "/health/ready", "/health/startup"):
        assert (await status(own + path), await status(shared + path)) == (200, 200)
    assert await status(f"{shared}/metrics") == 404
    for pid in await hubs.ready(2):
        os.kill(pid, signal.SIGSTOP)
        try:
            shown, _ = await asyncio.gather(figures(hubs), until_status(f"{own}/health/ready", 503))
            assert await status(f"{own}/health/live") == 200
            assert shown["hub_processes_ready"] == 2
        finally:
            os.kill(pid, signal.SIGCONT)
        await until_status(f"{own}/health/ready", 200)


async def test_a_start_that_fails_ends_all(start: Start, tmp_path: Path) -> None:
    absent = str(tmp_path / "none.pem")
    tls = {"TLS_CERT_FILE": absent, "TLS_KEY_FILE": absent}
    hubs = await start("--processes", "2", awaited=False, **tls)
    assert await hubs.ended() == 1
    assert await hubs.logged("a hub process ended before all were ready")


async def test_a_taken_port_is_told(start: Start) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        hubs = await start(awaited=False, PORT=str(stranger.getsockname()[1]))
        assert await hubs.ended() == 1
    (failed,) = await hubs.logged("the start failed")
    assert "Address already in use" in failed["error"]["message"]


@pytest.mark.parametrize("transports", ["websocket,polling", "polling"])
async def test_polling_is_refused_at_the_start(start: Start, transports: str) -> None:
    hubs = await start(awaited=False, SOCKET_TRANSPORTS=transports)
    assert await hubs.ended() == 1
    told = await hubs.said("  HUB_PROCESSES: ")
    assert "SOCKET_TRANSPORTS=websocket" in told
    assert "sticky sessions" in told


async def test_the_option_goes_before_the_variable(start: Start) -> None:
    hubs = await start("--processes", "1", HUB_PROCESSES="3", SOCKET_TRANSPORTS="websocket,polling")
    assert "processes" not in await hubs.said("dongne hub ready on ")
    assert await hubs.stop() == 0
