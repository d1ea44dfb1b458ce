"""`dongne hub --processes N`: N hubs on one port, and a parent over them that holds no client.

Each listens on PORT with SO_REUSEPORT (socket(7)): Linux spreads new connections over those that
listen by a hash of both addresses. macOS has the option but gives nearly all to one process, and no
parent-death signal. Polling is refused at the start, because its requests would change process.

Each is a node of its own in the cluster, as if it ran alone. The parent reserves the port, starts
what ends unasked again, adds up health and metrics, and hands SIGTERM and SIGINT on as SIGTERM; of
a parent that is killed the kernel tells the processes by SIGTERM, so that they drain and end.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, generate_latest
from typer import echo

from api.health import Vitals
from hub.commands.ports import address, serve_metrics
from hub.embedded import launch
from hub.plumbing.http.binding import bound_socket
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.lifecycle import Lifecycle, run
from hub.plumbing.life.waiting import backoff_s, ended_before
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry import logs as telemetry
from hub.plumbing.telemetry.merged import Sum
from hub.plumbing.telemetry.metrics import REGISTRY

READY: Final = Gauge(
    "hub_processes_ready", "Processes of this hub that may be asked.", registry=REGISTRY
)
RESTARTS: Final = Counter(
    "hub_process_restarts_total", "Processes that ended unasked.", registry=REGISTRY
)

PAUSE_S: Final = 0.5
"""From an end to the next start; doubled for each end that follows soon, to LONGEST_PAUSE_S."""

LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""Who lived so long ended by an accident, not by a fault that comes again at each start."""

RESERVE_S: Final = 3.0
"""Of SHUTDOWN_TIMEOUT, what the processes do not get: their watchdogs, then the parent, end what
hangs."""

ASK_S: Final = 2.0
"""For the metrics of one process; Prometheus waits 10 s by default."""

log = structlog.get_logger(__name__)


class Place:
    """One of the N. `url` is where its present process tells its health; empty until `ready`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Process | None = None
        self.url = ""
        self.ready = asyncio.Event()
        self.mute = Lasting(log, "a hub process tells no metrics", "it tells its metrics again")

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0


class Parent:
    """`code` is the worst exit code of those that were told to end."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.code = 0
        self._settings = settings
        self._timeout_s = settings.process.shutdown_timeout_ms / 1000
        self._reserve_s = min(RESERVE_S, self._timeout_s / 4)
        self._environ = dict(environ)
        self._places = [Place(number) for number in range(settings.sockets.hub_processes)]
        self._keepers: list[asyncio.Task[object]] = []
        self._started = False
        self._sum = Sum(REGISTRY)
        self._asking = asyncio.Lock()

    async def open(self, life: Lifecycle) -> None:
        """Start all; returns when all may be asked. Raises OSError when PORT is taken.

        Until then an end of one ends everything, as a start that fails does without a parent.
        """
        self._life = life
        web_part = self._settings.web
        port = _reserve(life, web_part.host, web_part.port)
        own_ms = max(100, int((self._timeout_s - self._reserve_s) * 1000))
        self._environ |= {"PORT": str(port), "SHUTDOWN_TIMEOUT": str(own_ms)}
        self._http = await life.enter("questions", aiohttp.ClientSession())
        await serve_metrics(life, self._settings, self._vitals(), self._metrics)
        self._keepers = [
            life.spawn(f"process {place.number}", self._keep(place)) for place in self._places
        ]
        life.on_stop("processes", self._end)
        for place in self._places:
            await place.ready.wait()
        self._started = True
        count = len(self._places)
        echo(f"dongne hub ready on {address(self._settings, port)} ({count} processes)")

    # --- the processes

    async def _keep(self, place: Place) -> None:
        """A process at this place, and another one whenever it ends unasked."""
        clock = asyncio.get_running_loop().time
        ends = 0
        while True:
            begin = clock()
            code = await self._live(place)
            if self._life.stopping.is_set():
                self.code = max(self.code, code)
                return None
            if not self._started:
                log.error("a hub process ended before all were ready", pid=place.pid, exitCode=code)
                self.code = max(self.code, code, 1)
                return self._life.fail()
            ends = 1 if clock() - begin > STEADY_S else ends + 1
            pause = backoff_s(ends, PAUSE_S, LONGEST_PAUSE_S, spread=0)
            RESTARTS.inc()
            log.error(
                "a hub process ended unasked", pid=place.pid, exitCode=code, restartAfterS=pause
            )
            if await _set_within(self._life.stopping, pause):
                return None

    async def _live(self, place: Place) -> int:
        """From its start to its end, asked for when the parent stops; the exit code."""
        reader, writer = os.pipe()
        try:
            place.process = process = await self._spawn(writer)
        except OSError as error:
            os.close(reader)
            log.error("a hub process could not be started", kind=type(error).__name__)
            return 1
        finally:
            os.close(writer)
        hearing = asyncio.create_task(self._hear(place, reader))
        ended = asyncio.create_task(process.wait())
        asked = not await ended_before(ended, self._life.stopping)
        if asked:
            with suppress(ProcessLookupError):
                process.terminate()
        code = await ended
        await hearing
        self._ended(place)
        if asked and code == -signal.SIGTERM:  # so early that nobody listened to signals yet
            return 0
        return 128 - code if code < 0 else code

    async def _spawn(self, report: int) -> Process:
        """In a session of its own: Ctrl-C reaches it through the parent only."""
        hub = [sys.executable, "-m", "hub.commands.cli", "hub", "--report", str(report)]
        return await asyncio.create_subprocess_exec(
            *launch.command(hub, signal.SIGTERM),
            env=self._environ,
            stdin=DEVNULL,
            pass_fds=[report],
            start_new_session=True,
        )

    async def _hear(self, place: Place, report: int) -> None:
        """Until it says where its health is; or ends without."""
        said = await _read(report)
        if said:
            place.url = f"http://127.0.0.1:{int(said)}"
            place.ready.set()
            READY.inc()
            log.info("a hub process is ready", pid=place.pid)

    def _ended(self, place: Place) -> None:
        self._sum.ended(place.pid)
        if place.ready.is_set():
            READY.dec()
        place.ready.clear()
        place.url = ""

    async def _end(self) -> None:
        """Until all have ended; who does not in time is killed."""
        patience_s = self._timeout_s - self._reserve_s / 3
        _, late = await asyncio.wait(self._keepers, timeout=patience_s)
        if late:
            for place in self._places:
                if place.process is not None and place.process.returncode is None:
                    log.error("a hub process did not stop in time and is killed", pid=place.pid)
                    place.process.kill()
            await asyncio.wait(late)

    # --- what they say of themselves

    def _vitals(self) -> Vitals:
        """Ready when each of them is."""
        return Vitals(
            {f"process{one.number}": partial(self._check, one) for one in self._places},
            started=self._have_started,
            leaving=self._life.stopping.is_set,
        )

    async def _have_started(self) -> bool:
        return self._started

    async def _check(self, place: Place) -> None:
        if not place.url:
            raise ConnectionError("it has not started")
        async with self._http.get(f"{place.url}/health/ready") as answer:
            answer.raise_for_status()

    async def _metrics(self, _: web.Request) -> web.Response:
        async with self._asking:
            await asyncio.gather(*(self._ask(place) for place in self._places))
            body = generate_latest(self._sum)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _ask(self, place: Place) -> None:
        pid, url = place.pid, place.url
        if not url:
            return
        try:
            timeout = aiohttp.ClientTimeout(total=ASK_S)
            async with self._http.get(f"{url}/metrics", timeout=timeout) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            place.mute.seen(pid=pid, kind=type(error).__name__)
            self._sum.silent(pid)
            return
        place.mute.over(pid=pid)
        if place.url == url and place.pid == pid:
            self._sum.heard(pid, text)


def run_hubs(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run HUB_PROCESSES hubs until told to stop; 0, or the worst of their exit codes."""
    telemetry.configure(settings)
    parent = Parent(settings, environ)
    code = run(parent.open, settings)
    return max(code, parent.code)


def _reserve(life: Lifecycle, host: str, port: int) -> int:
    """Bind PORT without listening, so that nobody else has it while one of ours starts anew (0:
    any port). Raises OSError.
    """
    sock = bound_socket(host, port, shared=True)
    life.on_stop("port", partial(asyncio.to_thread, sock.close))
    return int(sock.getsockname()[1])


async def _read(pipe: int) -> bytes:
    """The first bytes written to it; none when the other end was closed. Closes this one."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe, readable.set)
    try:
        await readable.wait()
        return os.read(pipe, 16)
    finally:
        loop.remove_reader(pipe)
        os.close(pipe)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
