"""Urgent questions to a crowd, while sockets drop, workers are killed and providers fail."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp

from hub.domain.context import Domain
from tests.client import Ears, Rest
from tests.fakes.script import Fault
from tests.stories.latency import PLACE, token_of
from tests.stories.processes import Door
from tests.stories.stack import Stack, open_stack
from tests.stories.wakes.crowd import Habit, Phone, Somebody, make_crowd, settle
from tests.stories.wakes.providers import Provider, Street, Weather, open_street
from tests.workers import quick_worker

RINGS: Final = ((100, 1_300), (2_900, 4_200), (6_500, 12_000))
"""Metres from the place: well inside the circle of each wave, well outside the one before."""


WAVE_S: Final = 2.0
PATIENCE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question `at` seconds from the beginning; `answered`: so long after that, or never. An
    answer waits until every open screen has the question, if that comes within `PATIENCE_S`."""

    at: float
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`rings`: what share of the people each wave is the first to reach; `waves`: when each begins
    (s). `outages`: when, of which provider, so long, and what is answered then. Those of `stock`
    hold a stock client instead of a light one. `grace_s`: how much longer than a quiet machine this
    one may take for what was under way."""

    people: int
    stock: int
    rings: tuple[float, ...]
    waves: tuple[int, ...]
    recipients: int
    questions: tuple[Asked, ...]
    deadline_s: int
    kill_every_s: float
    outages: tuple[tuple[float, str, float, Fault], ...]
    timers_s: tuple[int, int]
    rates: tuple[int, int] = (1000, 100)
    workers: int = 2
    grace_s: float = 0.0
    push_timeout_ms: int = 3000

    @property
    def environ(self) -> dict[str, str]:
        circles = ("2000", "5000", "region")
        return {
            "URGENT_WAVES": ",".join(map("{}:{}".format, self.waves, circles)),
            "URGENT_DEADLINE": str(self.deadline_s),
            "URGENT_MAX_RECIPIENTS": str(self.recipients),
            "URGENT_PER_PERSON": "100:1",
            "UNSEEN_PUSH_URGENT": str(self.timers_s[0]),
            "UNSEEN_EMAIL_URGENT": str(self.timers_s[1]),
            "QUEUE_NOTIFICATION_RATE": str(self.rates[0]),
            "QUEUE_EMAIL_RATE": str(self.rates[1]),
            "CONN_MAX_IP": "5000",
            "DB_POOL_MAX": "20",
            "PUSH_TIMEOUT": str(self.push_timeout_ms),
            "MAIL_TIMEOUT": str(self.push_timeout_ms),
            "BREAKER_RESET": "2000",
        }


FULL: Final = Plan(
    people=1000,
    stock=6,
    rings=(0.4, 0.35, 0.25),
    waves=(0, 8, 16),
    recipients=400,
    questions=(Asked(0), Asked(10, answered=25), Asked(60)),
    deadline_s=100,
    kill_every_s=4,
    outages=(
        (25, "fcm", 8, Fault("send", status=503)),
        (40, "apns", 6, Fault("push", "hang")),
        (15, "smtp", 6, Fault("data", reply="421 4.3.2 down")),
        (50, "webpush", 6, Fault("push", status=502)),
    ),
    timers_s=(5, 12),
)
SHORT: Final = Plan(
    people=40,
    stock=2,
    rings=(0.6, 0.4),
    waves=(0, 1),
    recipients=30,
    questions=(Asked(0, answered=5),),
    deadline_s=70,
    kill_every_s=1.5,
    outages=((1, "fcm", 1, Fault("send", status=503)),),
    timers_s=(1, 2),
    push_timeout_ms=1000,
    grace_s=2.0,
)


@dataclass(slots=True)
class Question:
    """`over_at`: its deadline, or when the answer to its answer came (seconds since 1970)."""

    id: str
    plan: Asked
    over_at: float
    unheard: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Told:
    """All that was seen of one run. `killed`: when each worker was; `drained_s`: how long after the
    last question was over no job waited any more, None: some did for all that time."""

    plan: Plan
    domain: Domain
    crowd: Sequence[Somebody]
    providers: Sequence[Provider]
    weathers: dict[str, Weather]
    questions: list[Question] = field(default_factory=list)
    killed: list[float] = field(default_factory=list)
    drained_s: float | None = None


@asynccontextmanager
async def tell(
    plan: Plan, seed: int, domain: Domain, database_url: str, redis_url: str, folder: Path
) -> AsyncIterator[Told]:
    """Play it on these stores; what is given still runs, for looking into it."""
    async with open_street(folder) as street:
        environ = plan.environ | street.environ
        async with open_stack(
            domain, database_url, redis_url, folder, environ, quick_worker.main
        ) as stack:
            crowd = make_crowd(plan.people, seed, plan.rings, street.subscribe)
            told = _prepared(plan, seed, stack, street, crowd)
            await watch(domain)
            await settle(domain, list(crowd), RINGS)
            workers = [stack.worker, *_more_workers(plan, stack, folder)]
            try:
                async with asyncio.TaskGroup() as group:
                    for worker in workers[1:]:
                        group.create_task(worker.start())
                async with _living(stack, told):
                    await _play(stack, told, workers, seed)
                yield told
            finally:
                await asyncio.gather(*(one.stop() for one in workers[1:] if one.alive))


def _more_workers(plan: Plan, stack: Stack, folder: Path) -> list[Door]:
    return [
        Door("worker", stack.env, folder / f"worker-{n}.log", work=quick_worker.main)
        for n in range(1, plan.workers)
    ]


def _prepared(
    plan: Plan, seed: int, stack: Stack, street: Street, crowd: Sequence[Somebody]
) -> Told:
    """Everybody's weather, and what is dead: tokens, browsers, mailboxes."""
    for one in crowd:
        for device in one.devices:
            if device.dead and device.platform == "android":
                stack.fcm.unregistered.add(device.address)
            elif device.dead and device.platform == "ios":
                street.apns.unregistered[device.address] = int(time.time() * 1000) + 60_000
            elif device.dead:
                street.browsers.gone.add(device.address)
    dead = {device.address for one in crowd for device in one.devices if device.dead}
    dead |= {one.email for one in crowd if one.dead_mailbox}
    no_such = {"smtp": Fault("data", reply="550 5.1.1 no such user")}
    providers, weathers = street.providers(stack.fcm, stack.smtp), {}
    for provider in providers:
        weather = Weather(seed, provider, dead, no_such.get(provider.name))
        weathers[provider.name] = provider.fake.weather = weather
    return Told(plan, stack.domain, crowd, providers, weathers)


async def watch(d: Domain) -> None:
    """What rows alone do not keep: when each first said sent, and which jobs there ever were."""
    await d.pool.execute(
        "CREATE TABLE seen_sent (delivery uuid PRIMARY KEY, at timestamptz);"
        " CREATE TABLE seen_jobs (id bigint PRIMARY KEY, entrypoint text, ended text);"
        " CREATE FUNCTION see_sent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  INSERT INTO seen_sent VALUES (NEW.id, clock_timestamp()) ON CONFLICT DO NOTHING;"
        "  RETURN NULL; END $$;"
        " CREATE FUNCTION see_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  INSERT INTO seen_jobs VALUES (NEW.id, NEW.entrypoint); RETURN NULL; END $$;"
        " CREATE FUNCTION see_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  UPDATE seen_jobs SET ended = NEW.status WHERE id = NEW.job_id; RETURN NULL; END $$;"
        " CREATE TRIGGER see_sent AFTER UPDATE ON deliveries FOR EACH ROW"
        "  WHEN (NEW.status = 'sent') EXECUTE FUNCTION see_sent();"
        " CREATE TRIGGER see_job AFTER INSERT ON pgqueuer FOR EACH ROW EXECUTE FUNCTION see_job();"
        " CREATE TRIGGER see_end AFTER INSERT ON pgqueuer_log FOR EACH ROW"
        "  WHEN (NEW.status NOT IN ('queued', 'picked')) EXECUTE FUNCTION see_end();"
    )


@asynccontextmanager
async def _living(stack: Stack, told: Told) -> AsyncIterator[None]:
    """Everybody with a phone in the hand uses it meanwhile."""
    with_phone = [one for one in told.crowd if one.habit is not Habit.AWAY]
    light = with_phone[told.plan.stock :]
    phones = [Phone(stack.domain, stack.hub.url, one) for one in light]
    tasks = [asyncio.create_task(phone.live()) for phone in phones]
    http = aiohttp.ClientSession()  # a stock client that comes back leaves its own one open
    stock = [_stock_client(stack, http, one) for one in with_phone[: told.plan.stock]]
    tasks += [asyncio.create_task(one) for one in stock]
    try:
        async with asyncio.timeout(60):
            while not all(one.connects for one in with_phone):
                await asyncio.sleep(0.05)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await http.close()


async def _stock_client(stack: Stack, http: aiohttp.ClientSession, one: Somebody) -> None:
    """The stock Python client, which comes back by itself when its transport is cut."""
    ears = Ears(http_session=http, reconnection_delay=0.2, reconnection_delay_max=1)

    async def ready(_: Any, *more: Any) -> None:
        one.connects += 1
        one.here_since = time.time()

    async def urgent(data: dict[str, Any], *more: Any) -> None:
        id = data["questionId"]
        one.shown.setdefault(id, time.time())
        if one.habit is not Habit.POCKET and id not in one.acknowledged:
            with suppress(Exception):  # cut meanwhile: it is shown again
                if (await ears.call("notification:ack", {"questionIds": [id]}))["ok"]:
                    one.acknowledged[id] = time.time()

    ears.sio.on("ready", ready)
    ears.sio.on("question:urgent", urgent)
    auth = {"token": token_of(stack.domain, one.name), "recovery": False}
    await ears.join(stack.hub.url, auth)
    try:
        while True:
            await asyncio.sleep(one.random.uniform(3, 8))
            if one.habit is Habit.WANDERS and ears.sio.connected:
                one.here_since = None
                await ears.sio.eio.ws.close()
    finally:
        one.here_since = None
        await ears.close()


async def _play(stack: Stack, told: Told, workers: Sequence[Door], seed: int) -> None:
    asking = asyncio.create_task(_ask_all(stack, told))
    killing = asyncio.create_task(_kill(told, workers, seed))
    failing = [asyncio.create_task(_fail(told, *outage)) for outage in told.plan.outages]
    await asyncio.gather(asking, *failing)
    killing.cancel()
    with suppress(asyncio.CancelledError):
        await killing
    for worker in workers:
        if not worker.alive:
            await worker.start()
    await _drain(told)


async def _kill(told: Told, workers: Sequence[Door], seed: int) -> None:
    """One after the other, whatever it does at that moment; the next one starts at once."""
    random = Random(seed)
    while True:
        for worker in workers:
            await asyncio.sleep(told.plan.kill_every_s * random.uniform(0.7, 1.3))
            await worker.kill()
            told.killed.append(time.time())
            await asyncio.shield(worker.start())


async def _fail(told: Told, at: float, name: str, seconds: float, fault: Fault) -> None:
    await asyncio.sleep(at)
    told.weathers[name].outage(seconds, fault)


async def _ask_all(stack: Stack, told: Told) -> None:
    await asyncio.gather(*(_ask(stack, told, plan) for plan in told.plan.questions))


async def _ask(stack: Stack, told: Told, plan: Asked) -> None:
    await asyncio.sleep(plan.at)
    asker = stack.service.as_(token_of(stack.domain, f"asker-{plan.at}"))
    body = {
        "title": "문 연 약국 있나요?",
        "content": "지금 연동에서 문을 연 약국을 찾아요.",
        "urgency": "urgent",
        "lat": PLACE[0],
        "lng": PLACE[1],
    }
    made = await asker.call("POST", "/questions", body)
    question = Question(made["id"], plan, time.time() + told.plan.deadline_s)
    told.questions.append(question)
    if plan.answered is None:
        await asyncio.sleep(told.plan.deadline_s - 0.5)
        question.unheard = _unheard(told, question)
        await asyncio.sleep(0.5)
        return
    await asyncio.sleep(plan.answered)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while _unheard(told, question):
                await asyncio.sleep(0.1)
    question.unheard = _unheard(told, question)
    await _answer(stack, question)


def _unheard(told: Told, question: Question) -> list[str]:
    """Connected for two seconds now, where a wave was due two seconds ago, and not told."""
    asked, now = question.over_at - told.plan.deadline_s, time.time()
    return [
        one.name
        for one in told.crowd
        if one.here_since is not None
        and now - one.here_since > WAVE_S
        and now - asked - told.plan.waves[one.ring] > WAVE_S
        and question.id not in one.shown
    ]


async def _answer(stack: Stack, question: Question) -> None:
    answerer: Rest = stack.service.as_(token_of(stack.domain, "answerer"))
    body = {"questionId": question.id, "content": "중앙약국이 열려 있어요."}
    await answerer.call("POST", "/answers", body)
    question.over_at = time.time()


async def _drain(told: Told) -> None:
    """Until no job runs, and none that is due soon waits."""
    begin = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(90):
            while await told.domain.pool.fetchval(
                "SELECT count(*) FROM pgqueuer WHERE status = 'picked'"
                " OR status = 'queued' AND execute_after < now() + interval '3 seconds'"
            ):
                await asyncio.sleep(0.1)
            told.drained_s = time.monotonic() - begin
