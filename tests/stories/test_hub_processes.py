"""`dongne hub --processes 3`: real processes, killed and stopped, and stock clients on one port."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import socketio
from prometheus_client.parser import text_string_to_metric_families

from hub.domain.context import Domain
from protocol.events import Emit
from protocol.names import question_room
from protocol.tokens import sign_access
from tests.conftest import SECRETS
from tests.stories.cluster.nodes import make_questions

pytestmark = pytest.mark.story

COUNT = 3
PHONES = 30
PATIENCE_S = 30.0


class Hubs:
    """A running parent; `lines` are what it and its processes printed."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._over = False
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._changed:
                self.lines.append(line.decode().rstrip())
                self._changed.notify_all()
        async with self._changed:
            self._over = True
            self._changed.notify_all()

    async def said(self, beginning: str) -> str:
        """The first line that begins so, without its beginning."""
        found = await self._until(lambda: [one for one in self.lines if one.startswith(beginning)])
        return str(found[0]).removeprefix(beginning)

    async def logged(self, sentence: str, count: int = 1) -> list[dict[str, Any]]:
        """That many lines of the log with this sentence."""

        def found() -> list[dict[str, Any]]:
            return [one for one in self.log() if one["event"] == sentence]

        return (await self._until(lambda: found() if len(found()) >= count else []))[:count]

    def log(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.lines if line.startswith("{"))

    async def _until(self, found: Callable[[], list[Any]]) -> list[Any]:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(lambda: self._over or found())
        assert found(), "\n".join(self.lines)
        return found()

    async def ready(self, count: int = COUNT) -> list[int]:
        """The pids of the first `count` that became ready."""
        return [one["pid"] for one in await self.logged("a hub process is ready", count)]

    @property
    def url(self) -> str:
        return self._named("dongne hub ready on ")

    @property
    def metrics_url(self) -> str:
        return self._named("dongne metrics listens on ")

    def _named(self, beginning: str) -> str:
        (line,) = (one for one in self.lines if one.startswith(beginning))
        return line.removeprefix(beginning).split()[0].replace("localhost", "127.0.0.1")

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await self.ended()

    async def close(self) -> None:
        """Whatever a failed test left is killed; all that it started has gone."""
        pids = [one["pid"] for one in self.log() if one["event"] == "a hub process is ready"]
        for pid in (self.process.pid, *pids) if self.process.returncode is None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.ended()
        await gone(*pids)
        await self._reading


async def gone(*pids: int) -> None:
    """Until none of these processes runs, whoever's children they are now."""
    loop = asyncio.get_running_loop()
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)  # pidfd_open(2): readable when it has ended
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)


Start = Callable[..., Any]


@pytest.fixture
async def start(database_url: str, redis_url: str) -> AsyncIterator[Start]:
    """Runs `dongne hub --processes 3`; returns when it is ready, unless that is not awaited."""
    env = {
        "PATH": os.environ["PATH"],
        "APP_ENV": "test",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DB_POOL_MIN": "1",
        "SOCKET_TRANSPORTS": "websocket",
        "SHUTDOWN_TIMEOUT": "12000",
        "SHUTDOWN_DRAIN_MS": "0",
        **SECRETS,
    }
    running: list[Hubs] = []

    async def start(*words: str, awaited: bool = True, **more: str) -> Hubs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub.cli", "hub", *(words or ("--processes", str(COUNT)))),
            env=env | more,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        running.append(Hubs(process))
        if awaited:
            await running[-1].said("dongne hub ready on ")
        return running[-1]

    yield start
    for one in running:
        await one.close()


class Phone:
    """The stock Python client, which comes back by itself; it sends pid and offset as the README
    says. `heard` are the numbers of what it was told, `recovered` what each `ready` said.
    """

    def __init__(self, returns: bool) -> None:
        self.heard: list[int] = []
        self.lost = False
        self.recovered: list[bool] = []
        self._known: dict[str, Any] = {}
        self._changed = asyncio.Condition()
        self.sio = socketio.AsyncClient(
            reconnection=returns, reconnection_delay=0.1, reconnection_delay_max=0.5
        )
        self.sio.on("disconnect", self._lost)
        self.sio.on("ready", self._ready)
        self.sio.on("news", self._news)

    def _lost(self, _reason: str) -> None:
        self.lost = True

    async def _ready(self, data: dict[str, Any]) -> None:
        self._known["pid"] = data["pid"]
        async with self._changed:
            self.recovered.append(data["recovered"])
            self._changed.notify_all()

    async def _news(self, data: dict[str, Any], offset: str) -> None:
        self._known["offset"] = offset
        async with self._changed:
            self.heard.append(data["n"])
            self._changed.notify_all()

    async def connect(self, url: str, token: str, question: str) -> None:
        self._known["token"] = token
        await self.sio.connect(url, auth=lambda: self._known, transports=["websocket"])
        await self.until(lambda: bool(self.recovered))
        answer = await self.sio.call("question:join", {"questionId": question})
        assert answer["ok"], answer

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(true)

    async def hears(self, number: int) -> None:
        await self.until(lambda: number in self.heard)

    async def comes_back(self) -> None:
        await self.until(lambda: len(self.recovered) > 1)

    async def close(self) -> None:
        await self.sio.shutdown()  # coming back ends, too
        await self.sio.disconnect()  # what a lost connection left open


@asynccontextmanager
async def phones(
    domain: Domain, url: str, count: int, *, returns: bool = True
) -> AsyncIterator[tuple[list[Phone], str]]:
    """Connected and in the room of one question, whose id is the second."""
    (question,) = await make_questions(domain, 1)
    people = [Phone(returns) for _ in range(count)]
    try:
        async with asyncio.TaskGroup() as group:
            for n, phone in enumerate(people):
                keys, now = domain.tokens, domain.now()
                token = sign_access(keys, f"p{n}", "user", now=now, ttl_s=900, jti=str(uuid4()))
                group.create_task(phone.connect(url, token, question))
        yield people, question
    finally:
        await asyncio.gather(*(phone.close() for phone in people))


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
    hubs = await start(awaited=False)
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
    one, _ = await hubs.ready(2)
    own, shared = hubs.metrics_url, hubs.url
    for path in ("/health/live", "/health/ready", "/health/startup"):
        assert (await status(own + path), await status(shared + path)) == (200, 200)
    assert await status(f"{shared}/metrics") == 404
    os.kill(one, signal.SIGSTOP)
    try:
        assert await status(f"{own}/health/ready") == 503
        assert await status(f"{own}/health/live") == 200
        assert (await figures(hubs))["hub_processes_ready"] == 2
    finally:
        os.kill(one, signal.SIGCONT)
    assert await status(f"{own}/health/ready") == 200


async def test_a_start_that_fails_ends_all(start: Start, tmp_path: Path) -> None:
    absent = str(tmp_path / "none.pem")
    hubs = await start(awaited=False, TLS_CERT_FILE=absent, TLS_KEY_FILE=absent)
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
