"""Story: a release and its way back on one machine, as deploy/release does them on a cluster.

nginx with the files of `deploy`, two hubs, an api and two workers of each colour, under stock
clients and callers. Green is started and looked at, the traffic is switched, blue ends; then back.
"""

import asyncio
import json
import signal
from asyncio import Event
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final
from uuid import uuid4

import aiohttp

from hub.domain.assembly import redis_server
from hub.domain.context import Domain
from hub.plumbing.settings.settings import Settings
from tests.deploy.proxies import Nginx
from tests.stories.cluster.balancer import ready
from tests.stories.cluster.ledger import Account, audit, total
from tests.stories.cluster.nodes import Service, make_questions
from tests.stories.cluster.swarm import Person, all_heard, crowd
from tests.stories.latency import percentile, token_of
from tests.stories.processes import Door, environment

PATIENCE_S = 30.0
END_S = 100.0
"""More than SHUTDOWN_TIMEOUT."""

READERS = 500
"""Nobody reads more often than a person may: a hundred times a minute."""

WRITES = 10
"""One call in so many writes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rest_s` before each switch and after the last, `keep_s` between a switch and the end of the
    old colour (KEEP_S of deploy/release); `calls` a second go to the api, `events` a second to the
    sockets' rooms. DRAIN_RATE is what two processors bear that everything else runs on, too, the
    clients included; SHUTDOWN_TIMEOUT is enough for it (deploy/docs/sizing.md).
    """

    sockets: int = 2000
    rooms: int = 100
    events: float = 50
    calls: float = 100
    rest_s: float = 5
    keep_s: float = 5
    settings: Mapping[str, str] = field(
        default_factory=lambda: {"DRAIN_RATE": "16", "SHUTDOWN_TIMEOUT": "95000"}
    )


SHORT = Plan(40, 5, 20, 20, 0.5, 1, {"DRAIN_RATE": "40", "SHUTDOWN_DRAIN_MS": "200"})


POOLS: Final = {"hub": "5", "api": "20", "worker": "5"}
"""DB_POOL_MAX of each role: both colours' together are what one server bears
(deploy/docs/sizing.md)."""


class Colour:
    """The processes of one version."""

    def __init__(self, name: str, env: Mapping[str, str], folder: Path) -> None:
        self.name = name

        def door(role: str, number: str = "") -> Door:
            own = {"APP_VERSION": name, "DB_POOL_MAX": POOLS[role]}
            return Door(role, {**env, **own}, folder / f"{name}-{role}{number}.log")

        self.hubs = [door("hub", "1"), door("hub", "2")]
        self.api = door("api")
        self.workers = [door("worker", "1"), door("worker", "2")]

    @property
    def doors(self) -> list[Door]:
        return [*self.hubs, self.api, *self.workers]

    async def start(self) -> None:
        """Until all of it may be asked; one after the other, for others serve meanwhile."""
        for door in self.doors:
            await door.start()
        for door in (*self.hubs, self.api):
            await ready(door.url)

    async def stop(self) -> list[int]:
        return list(await asyncio.gather(*(door.stop(END_S) for door in self.doors)))

    async def kill(self) -> None:
        await asyncio.gather(*(door.kill() for door in self.doors if door.alive))


class Front(Nginx):
    """Sends to one colour, and to another when it is told."""

    def send_to(self, colour: Colour) -> None:
        self.nodes = {door.url: door.url for door in colour.hubs}
        self.apis = {colour.name: colour.api.url}
        self._write_upstreams()

    def switch(self, colour: Colour) -> None:
        self.send_to(colour)
        self.signal(signal.SIGHUP)


@dataclass(slots=True)
class Step:
    """Seconds of one release."""

    to: str
    ready_s: float
    switched_s: float
    drained_s: float

    def __str__(self) -> str:
        return (
            f"{self.to}: ready {self.ready_s:.1f}s, switched {self.switched_s:.1f}s,"
            f" the other gone in {self.drained_s:.1f}s"
        )


@dataclass(slots=True)
class Calls:
    """What the callers met: seconds of each call, and of what failed the moment (monotonic) and
    what was said.
    """

    seconds: list[float] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)

    def __str__(self) -> str:
        p99 = percentile(self.seconds, 0.99) * 1000 if self.seconds else float("nan")
        said = Counter(said for _, said in self.failures)
        return f"calls={len(self.seconds)} failed={len(self.failures)} {dict(said)} p99={p99:.0f}ms"


@dataclass(slots=True)
class Result:
    account: Account
    lies: int
    unpublished: int
    calls: Calls
    steps: list[Step]
    codes: list[int]
    gaps: list[float]

    @property
    def clean(self) -> bool:
        right = self.account.clean and not (self.account.told or self.lies or self.unpublished)
        answered = bool(self.calls.seconds) and not self.calls.failures
        return right and answered and not any(self.codes)

    def __str__(self) -> str:
        away = (
            f"away n={len(self.gaps)} p99={percentile(self.gaps, 0.99):.2f}s" if self.gaps else ""
        )
        steps = "; ".join(map(str, self.steps))
        return (
            f"{self.account} lies={self.lies} {self.calls}; {steps};"
            f" {away}; exit codes {self.codes}"
        )


def open_to_all(plan: Plan) -> dict[str, str]:
    """Limits of an address out of reach, because all come from one; the people keep theirs."""
    return {
        "TRUST_PROXY": "1",
        "CONN_MAX_IP": "20000",
        "RATE_LIMIT_MAX": "1000000",
        **plan.settings,
    }


async def rehearse(
    domain: Domain, database_url: str, redis_url: str, folder: Path, plan: Plan
) -> Result:
    """Blue is live, green comes, blue comes back."""
    env = environment(database_url, redis_url, **open_to_all(plan))
    questions = await make_questions(domain, plan.rooms, askers=plan.rooms)
    people = [
        Person(f"r-{n}", token_of(domain, f"r-{n}"), (questions[n % plan.rooms],))
        for n in range(plan.sockets)
    ]
    service, calls, done = Service(redis_server(Settings.load(env)), questions), Calls(), Event()
    steps: list[Step] = []
    codes: list[int] = []
    async with (
        colours(env, folder) as (blue, green),
        front(blue) as (proxy, url),
        crowd(url, people) as swarms,
    ):
        async with asyncio.TaskGroup() as group:
            group.create_task(service.run(plan.events, 0, done))
            group.create_task(call(domain, url, questions, plan.calls, calls, done))
            for old, new in ((blue, green), (green, blue)):
                await asyncio.sleep(plan.rest_s)
                step, ended = await release(proxy, old, new, plan.keep_s)
                steps.append(step)
                codes += ended
            await asyncio.sleep(plan.rest_s)
            done.set()
        expected = {one.name: service.expected(one.questions) for one in people}
        reports = await all_heard(swarms, expected)
    urgent = frozenset(service.urgent)
    return Result(
        account=total(audit(expected[one.name], one.heard, urgent) for one in reports),
        lies=sum(one.lies for one in reports),
        unpublished=len(service.failed),
        calls=calls,
        steps=steps,
        codes=codes,
        gaps=[gap for one in reports for gap in one.gaps],
    )


@asynccontextmanager
async def colours(env: Mapping[str, str], folder: Path) -> AsyncIterator[tuple[Colour, Colour]]:
    """Blue runs."""
    blue, green = Colour("blue", env, folder), Colour("green", env, folder)
    try:
        await blue.start()
        yield blue, green
    finally:
        await asyncio.gather(blue.kill(), green.kill())


@asynccontextmanager
async def front(live: Colour) -> AsyncIterator[tuple[Front, str]]:
    proxy = Front({})
    proxy.nodes = {door.url: door.url for door in live.hubs}
    proxy.apis = {live.name: live.api.url}
    try:
        yield proxy, await proxy.start()
    finally:
        await proxy.stop()


async def release(proxy: Front, old: Colour, new: Colour, keep_s: float) -> tuple[Step, list[int]]:
    """As deploy/release/blue-green.sh: the new one is ready before anything is sent to it, and the
    old one ends after the switch. Exit codes of the old one's processes.
    """
    begin = monotonic()
    await new.start()
    ready = monotonic()
    proxy.switch(new)
    await answers_from(proxy, new)
    switched = monotonic()
    await asyncio.sleep(keep_s)
    ending = monotonic()
    codes = await old.stop()
    return Step(new.name, ready - begin, switched - ready, monotonic() - ending), codes


async def answers_from(proxy: Front, colour: Colour) -> None:
    """Until a new connection through the proxy reaches this colour's api, by what it says of its
    version."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://127.0.0.1:{proxy.port}/docs/openapi.json") as answer,
            ):
                document = await answer.json()
            if document["info"]["version"] == colour.name:
                return


async def call(
    domain: Domain, url: str, questions: list[str], rate: float, calls: Calls, done: Event
) -> None:
    """So many calls a second, each in its own time, reads and writes."""
    readers = [token_of(domain, f"reader-{n}") for n in range(READERS)]
    begin, made = monotonic(), 0
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(url, timeout=timeout) as http, asyncio.TaskGroup() as group:
        while not done.is_set():
            while made < (monotonic() - begin) * rate:
                writes, turn = made % WRITES == 0, made // WRITES
                # each by another person to another's question: an inbox takes one at a time
                token = token_of(domain, f"w-{made}") if writes else readers[made % READERS]
                question = questions[(turn if writes else made) % len(questions)]
                group.create_task(one_call(http, token, question, writes, calls))
                made += 1
            await asyncio.sleep(0.01)


async def one_call(
    http: aiohttp.ClientSession, token: str, question: str, writes: bool, calls: Calls
) -> None:
    """A write carries its key, so a client may say it again when a connection broke; so does this
    one, as aiohttp does for reads."""
    headers = {"Authorization": f"Bearer {token}"}
    begin, failure = monotonic(), ""
    key = {"Idempotency-Key": str(uuid4())}
    body = {"questionId": question, "content": "길 건너편이요."}
    for _ in range(2):
        try:
            if writes:
                request = http.post("/api/v1/answers", json=body, headers=headers | key)
            else:
                request = http.get(f"/api/v1/questions/{question}", headers=headers)
            async with request as answer:
                text = await answer.text()
                failure = "" if answer.ok else f"{answer.method} {answer.status} {said(text)}"
                break
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = f"{'POST' if writes else 'GET'} {type(error).__name__}"
    calls.seconds.append(monotonic() - begin)
    if failure:
        calls.failures.append((begin, failure))


def said(text: str) -> str:
    """The code and the words of an error of ours; else how the answer begins."""
    try:
        error = json.loads(text)["error"]
        return f"{error['code']} {error['message']}"
    except (ValueError, KeyError, TypeError):
        return text[:80]
