"""A provider goes dark while pushes with short deadlines keep coming: late is worse than never.

Half of the people are told of an urgent question, half of an answer that expires; each has one
phone. The provider first keeps every caller waiting, then refuses connections, then is back.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications.writing import News
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests import verbs
from tests.conftest import SECRETS
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.forked import dongne
from tests.show import Verdict
from tests.show.stores import fresh_stores

LATEST_S = 1.0
"""After its deadline: when the provider may at the very latest be asked for one."""


@dataclass(frozen=True)
class Plan:
    """Seconds, and how many pushes in all. They come evenly, from `light_s` before the provider
    goes dark until as long after it is back."""

    pushes: int = 1000
    dark_s: float = 60.0
    light_s: float = 8.0
    deadline_s: float = 6.0
    steps_a_second: int = 4

    @property
    def whole_s(self) -> float:
        return self.dark_s + 2 * self.light_s


class Blackout(NamedTuple):
    """`late_s`: of the latest call, against its deadline; below 0 when it was in time. `ends`: of
    each notification, `sent` before `expired` before anything else."""

    calls: int
    taken: int
    late_s: float
    ends: Counter[str]


class Dark(FakeFcm):
    """Notes when it is called, and for which phone. While `keeps_waiting` nobody gets an answer."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.called: list[tuple[str, float]] = []
        self.keeps_waiting = False

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.called.append((body["message"]["token"], time.time()))
        if self.keeps_waiting:
            self.arm(Fault("send", "hang"))
        return await super()._send(request)


async def play(d: Domain, fcm: Dark, plan: Plan) -> Blackout:
    """The whole evening, until the last push is settled."""
    deadlines: dict[str, datetime] = {}
    lights = asyncio.create_task(_lights(fcm, plan))
    start, steps = time.monotonic(), round(plan.whole_s * plan.steps_a_second)
    for step in range(steps):
        await asyncio.sleep(max(0.0, start + step / plan.steps_a_second - time.monotonic()))
        first, behind = (plan.pushes * one // steps for one in (step, step + 1))
        deadlines |= await _tell(d, range(first, behind), plan.deadline_s)
    await lights
    await _settled(d, plan.deadline_s + 30)
    late_s = max((at - deadlines[token].timestamp() for token, at in fcm.called), default=-1.0)
    return Blackout(len(fcm.called), len(fcm.received), late_s, await _ends(d))


async def _lights(fcm: Dark, plan: Plan) -> None:
    await asyncio.sleep(plan.light_s)
    fcm.keeps_waiting = True
    await asyncio.sleep(plan.dark_s / 2)
    await fcm.stop()
    fcm.keeps_waiting = False
    await asyncio.sleep(plan.dark_s / 2)
    await fcm.start()


async def _tell(d: Domain, numbers: range, deadline_s: float) -> dict[str, datetime]:
    """Tokens of the phones, with what was the deadline of each."""
    if not numbers:
        return {}
    at = d.now() + timedelta(seconds=deadline_s)
    question = f"q{numbers.start}"
    await d.pool.execute(
        "INSERT INTO questions (id, user_id, title, content, region_code, urgency, deadline_at,"
        " created_at, updated_at)"
        " VALUES ($1, 'asker', '약국?', '연동', 'jeju', 'urgent', $2, now(), now())",
        question,
        at,
    )
    urgent = {"kind": "question_urgent", "question_id": question}
    personal: dict[str, Any] = {"kind": "answer_created", "expires_at": at}
    await verbs.notify(
        d,
        *(
            News(
                f"p{number}", title="새 답변", body="여기요", **(urgent if number % 2 else personal)
            )
            for number in numbers
        ),
    )
    return dict.fromkeys((f"t{number}" for number in numbers), at)


async def people(d: Domain, count: int) -> None:
    await d.pool.execute("INSERT INTO users (id, nickname) VALUES ('asker', 'a')")
    for statement in (
        "INSERT INTO users (id, nickname) SELECT 'p' || n, 'p' FROM generate_series(0, $1) n",
        "INSERT INTO notification_preferences (user_id) SELECT 'p' || n"
        " FROM generate_series(0, $1) n",
        "INSERT INTO devices (id, user_id, platform, token) SELECT gen_random_uuid(), 'p' || n,"
        " 'android', 't' || n FROM generate_series(0, $1) n",
    ):
        await d.pool.execute(statement, count - 1)


async def _settled(d: Domain, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while await d.pool.fetchval(
            "SELECT (SELECT count(*) FROM notifications n WHERE NOT EXISTS (SELECT FROM deliveries"
            " x WHERE x.notification_id = n.id AND x.channel = 'push'"
            " AND x.status NOT IN ('queued', 'sending')))"
        ):
            await asyncio.sleep(0.1)


async def _ends(d: Domain) -> Counter[str]:
    rows = await d.pool.fetch(
        "SELECT array_agg(x.status || coalesce(' ' || x.reason, '')) AS ends FROM deliveries x"
        " WHERE x.channel = 'push' GROUP BY x.notification_id"
    )
    return Counter(min(row["ends"], key=lambda end: (end != "sent", end)) for row in rows)


def judged(plan: Plan, found: Blackout) -> Verdict:
    sent, expired = found.ends["sent"], found.ends["expired expired"]
    passed = (
        0 < sent < plan.pushes
        and found.taken == sent
        and expired == plan.pushes - sent
        and found.late_s <= LATEST_S
    )
    ends = ", ".join(f"{number} {end}" for end, number in sorted(found.ends.items()))
    return Verdict(
        passed,
        f"{plan.pushes} pushes, {plan.dark_s:.0f} s dark: {ends}; the provider was called"
        f" {found.calls} times, at the latest {-found.late_s:.1f} s before a deadline, and took"
        f" {found.taken}",
    )


@asynccontextmanager
async def worker(env: dict[str, str]) -> AsyncIterator[None]:
    process = await dongne("worker", env={"PATH": os.environ["PATH"], **env}, stderr=2)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            await process.stdout.readline()
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 40)


async def blackout() -> Verdict:
    plan = Plan()
    async with fresh_stores() as stores, Dark(stores.folder) as fcm:
        env = {
            "APP_ENV": "test",
            "HOST": "127.0.0.1",
            "METRICS_PORT": "0",
            "LOG_LEVEL": "error",
            "DATABASE_URL": stores.database_url,
            "REDIS_URL": stores.redis_url,
            "FCM_CREDENTIALS_FILE": str(fcm.credentials_file),
            "FCM_URL": fcm.url,
            **SECRETS,
        }
        life = Lifecycle()
        d = await open_domain(life, Settings.load(env))
        await people(d, plan.pushes)
        async with worker(env):
            found = await play(d, fcm, plan)
        await life.close()
    return judged(plan, found)
