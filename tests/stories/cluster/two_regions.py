"""Story: jeju and busan in one Redis Cluster, each with a database, a tag, a hub and a worker of
its own. People of jeju travel in busan, ask and are answered there while workers are killed and
events are delivered twice: each is told once, and has one inbox, at home.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import asyncpg

from hub.domain import intake, shards
from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications import first_look, inbox
from hub.domain.people.sessions import ALL_SCOPES, Service
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.between_regions import BETWEEN_REGIONS
from protocol.domain_events import Envelope
from protocol.jobs import HandOverJob
from protocol.rest.questions import Ask
from protocol.tokens import sign_access
from tests import verbs
from tests.client import Ears
from tests.stories.processes import Door, environment

SERVICE: Final = Service("qa", frozenset(ALL_SCOPES), ("",), ("*",), 1000, 10000)
LAT: Final = 35.158
LNG: Final = 129.16
"""In busan."""

SETTLE_S: Final = 60.0
CODES: Final = ("jeju", "busan")


@dataclass(frozen=True, slots=True)
class Plan:
    """So many travellers, each with a question; `kills` of workers -9, and of `faults` of Redis."""

    travellers: int = 200
    kills: int = 8


SHORT: Final = Plan(travellers=12, kills=2)


@dataclass
class Region:
    """An installation: its heart for the story to look into, its hub and its worker."""

    domain: Domain
    hub: Door
    worker: Door

    async def screen(self, user_id: str) -> Ears:
        """The open app of somebody, on this region's hub."""
        keys, ears = self.domain.tokens, Ears()
        token = sign_access(
            keys, user_id, "user", now=datetime.now(UTC), ttl_s=900, jti=str(uuid4())
        )
        await ears.join(self.hub.url, {"token": token, "recovery": False})
        await ears.next("ready")
        return ears


@dataclass
class Country:
    jeju: Region
    busan: Region


@asynccontextmanager
async def open_country(
    redis_url: str,
    databases: Mapping[str, str],
    folder: Path,
    work: Callable[[], object] | None = None,
) -> AsyncIterator[Country]:
    """`databases`: URL by region. `work`: what runs instead of `dongne worker`."""
    held = json.dumps({code: {"url": url} for code, url in databases.items()})
    life, regions, started = Lifecycle(), dict[str, Region](), list[Door]()
    try:
        for code, url in databases.items():
            conn = await asyncpg.connect(url)
            await conn.execute("UPDATE regions SET is_active = true WHERE code = ANY($1)", CODES)
            await conn.close()
            own = {"REDIS_PREFIX": f"{{{code}}}:", "ADAPTER_KEY": code}
            own |= {"EVENTS_STREAM": f"events-{code}", "DB_SHARDS": held, "DB_POOL_MIN": "1"}
            env = environment(url, redis_url, **own, LOG_LEVEL="warn")
            hub = Door("hub", env, folder / f"hub-{code}.log")
            worker = Door("worker", env, folder / f"worker-{code}.log", work=work)
            regions[code] = Region(await open_domain(life, Settings.load(env)), hub, worker)
            started += (hub, worker)
        await asyncio.gather(*(door.start() for door in started))
        yield Country(**regions)
    finally:
        await asyncio.gather(*(door.kill() for door in started if door.alive))
        await life.close()


@dataclass(slots=True)
class Result:
    """`told`: travellers with exactly one notification of their answer, at home. `elsewhere`:
    notifications of theirs in busan. `unread`: what heads count, which must be what there is.
    `twice`: events that two deliverers brought. `screens`: what each screen lacked."""

    travellers: int
    told: int
    repeats: int
    elsewhere: int
    unread: int
    left: int
    failed: int
    kills: int
    twice: int
    took_s: float
    screens: list[str]

    @property
    def right(self) -> bool:
        whole = self.told == self.unread == self.travellers
        wrong = self.repeats or self.elsewhere or self.left or self.failed or self.screens
        return whole and self.twice > 0 and not wrong

    def __str__(self) -> str:
        return (
            f"{self.told} of {self.travellers} travellers have their answer at home, unread"
            f" {self.unread}, twice {self.repeats}, in busan {self.elsewhere};"
            f" {self.kills} kills of workers, {self.twice} events delivered by two;"
            f" left {self.left}, failed {self.failed}; {self.took_s:.1f} s;"
            f" screens: {self.screens or 'all heard all'}"
        )


async def play(
    country: Country, plan: Plan, fault: Callable[[], Awaitable[object]] | None = None
) -> Result:
    """`fault`: what happens to Redis in the middle of it."""
    jeju, busan = country.jeju.domain, country.busan.domain
    people = [f"traveller-{number}" for number in range(plan.travellers)]
    await _introduce(country, people)
    first = people[0]
    screens = {
        "jeju": await country.jeju.screen(first),
        "busan": await country.busan.screen(first),
    }
    try:
        lacks = await _alert(country, first, screens)
        begin = monotonic()
        twice = asyncio.create_task(_deliver_too(country))
        kills = asyncio.create_task(_kill_workers(country, plan.kills, fault))
        await _ask_and_answer(country, people)
        killed = await kills
        await _until(lambda: _all_told(jeju, len(people)))
        twice.cancel()
        with suppress(asyncio.CancelledError):
            await twice
        await _until(lambda: _nothing_left(country))
        took = monotonic() - begin
        lacks += await _check_answer(country, first, screens)
    finally:
        await asyncio.gather(*(ears.close() for ears in screens.values()))
    told = Counter(
        row["user_id"]
        for row in await jeju.pool.fetch(
            "SELECT user_id FROM notifications WHERE kind = 'answer_created'"
        )
    )
    return Result(
        travellers=len(people),
        told=sum(told[one] == 1 for one in people),
        repeats=sum(count - 1 for count in told.values()),
        elsewhere=await _count(busan, "notifications WHERE user_id LIKE 'traveller%'"),
        unread=await jeju.pool.fetchval("SELECT sum(unread)::int FROM inbox_heads"),
        left=await _left(country),
        failed=sum(
            [await _count(d, "inbox_events WHERE error IS NOT NULL") for d in (jeju, busan)]
        ),
        kills=killed,
        twice=_delivered_twice(twice),
        took_s=took,
        screens=lacks,
    )


async def _introduce(country: Country, people: list[str]) -> None:
    """What is told of a person in jeju is known in busan."""
    now = datetime.now(UTC)
    told = {**dict.fromkeys(people, "jeju"), "bada": "busan", "sora": "busan"}
    facts = [
        {"userId": one, "regionCode": region, "locationConsentAt": now.isoformat()}
        for one, region in told.items()
    ]
    envelopes = [
        Envelope(event_id=uuid4(), event_type="user.updated", occurred_at=now, payload=one)
        for one in facts
    ]
    await intake.accept(country.jeju.domain, SERVICE, envelopes)
    known = "users WHERE region_code IN ('jeju', 'busan')"
    await _until(lambda: _is(country.busan.domain, known, len(told)))


async def _alert(country: Country, user_id: str, screens: Mapping[str, Ears]) -> list[str]:
    """An urgent question in busan finds a traveller whose app speaks with jeju: told on both
    screens, written once at home, and taken back on both when it is answered."""
    jeju, busan = country.jeju.domain, country.busan.domain
    await verbs.locate(jeju, user_id, LAT, LNG)
    await _until(lambda: _is(busan, f"user_locations WHERE user_id = '{user_id}'", 1))
    form = Ask(title="약국?", content="해운대요", urgency="urgent", lat=LAT, lng=LNG)
    asked = await verbs.ask(busan, "bada", form)
    for ears in screens.values():
        await ears.next("question:urgent", lambda data: data["questionId"] == asked.id)
    await _until(lambda: _is(jeju, "notifications WHERE kind = 'question_urgent'", 1))
    answer = await verbs.answer(busan, "sora", asked.id, "중앙약국이요")
    for ears in screens.values():
        await ears.next("question:retracted", lambda data: data["questionId"] == asked.id)
    await _until(lambda: _is(jeju, "notifications WHERE retracted_at IS NOT NULL", 1))
    await verbs.accept(busan, "bada", answer.id)
    items = (await inbox.sync(jeju, user_id, None, 10)).items
    return [] if [item.kind for item in items] == ["question_urgent"] else [f"inbox: {items}"]


async def _ask_and_answer(country: Country, people: list[str]) -> None:
    """Each asks at home about busan, and a local of busan answers as soon as it is there."""
    for one in people:
        form = Ask(title=f"{one}?", content="해운대요", lat=LAT, lng=LNG)
        await verbs.ask(country.jeju.domain, one, form)
    busan, answered = country.busan.domain, set[str]()
    async with asyncio.timeout(SETTLE_S):
        while len(answered) < len(people):
            rows = await busan.pool.fetch(
                "SELECT id FROM questions WHERE urgency = 'normal' AND answer_count = 0"
            )
            for row in rows:
                await verbs.answer(busan, "sora", row["id"], "여기요")
                answered.add(row["id"])
            await asyncio.sleep(0.02)


async def _kill_workers(
    country: Country, count: int, fault: Callable[[], Awaitable[object]] | None
) -> int:
    """In turn, and each is started again at once."""
    workers = cycle((country.busan.worker, country.jeju.worker))
    for number in range(count):
        worker = next(workers)
        await worker.kill()
        if fault is not None and number == count // 2:
            await fault()
        await worker.start()
        await asyncio.sleep(0.3)
    return count


async def _deliver_too(country: Country) -> int:
    """A second deliverer beside the workers, until it is cancelled: it brings whatever it sees of
    what they are to bring; how many it was first or second with."""
    seen: set[str] = set()
    jeju, busan = country.jeju.domain, country.busan.domain
    try:
        while True:
            rows = await busan.pool.fetch(
                "SELECT event_id FROM inbox_events WHERE event_type = ANY($1::text[])",
                list(BETWEEN_REGIONS),
            )
            for row in rows:
                seen.add(str(row["event_id"]))
                job = HandOverJob(event_id=str(row["event_id"]), region="jeju")
                async with busan.pool.acquire() as here, jeju.pool.acquire() as there:
                    await shards.take_over(
                        here, there, job, lambda users: first_look.online(busan, users)
                    )
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        return len(seen)


def _delivered_twice(task: "asyncio.Task[int]") -> int:
    return 0 if task.cancelled() else task.result()


async def _check_answer(country: Country, user_id: str, screens: Mapping[str, Ears]) -> list[str]:
    """The same event under one id on both screens: whoever hears it twice shows it once."""
    ids = {}
    for region, ears in screens.items():
        await ears.next("answer:created", lambda data: data["answerer"]["userId"] == "sora")
        ids[region] = {args[0]["id"] for name, args in ears.heard if name == "answer:created"}
    return [] if ids["jeju"] == ids["busan"] and len(ids["jeju"]) == 1 else [f"answers: {ids}"]


async def _all_told(jeju: Domain, count: int) -> bool:
    return await _is(jeju, "notifications WHERE kind = 'answer_created'", count)


async def _nothing_left(country: Country) -> bool:
    return await _left(country) == 0


async def _left(country: Country) -> int:
    """Events that wait to be applied or handed over."""
    waiting = "inbox_events WHERE processed_at IS NULL"
    handing = "pgqueuer WHERE entrypoint IN ('hand-over', 'event') AND status <> 'successful'"
    domains = (country.jeju.domain, country.busan.domain)
    return sum([await _count(d, table) for d in domains for table in (waiting, handing)])


async def _is(d: Domain, table: str, count: int) -> bool:
    return await _count(d, table) == count


async def _count(d: Domain, table: str) -> int:
    return int(await d.pool.fetchval(f"SELECT count(*) FROM {table}"))


async def _until(true: Callable[[], Awaitable[Any]]) -> None:
    """Polls what no signal tells."""
    async with asyncio.timeout(SETTLE_S):
        while not await true():
            await asyncio.sleep(0.05)
