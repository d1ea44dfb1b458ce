"""What an urgent question costs where many people are."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime

from hub.domain import explain
from hub.domain.context import Domain
from hub.domain.notifications.attention import Shown
from hub.domain.people import members
from hub.domain.questions import claiming, waves
from hub.sockets.acks import Acks
from protocol.errors import Code, HubError
from protocol.rest.questions import Ask
from tests import verbs
from tests.show import Verdict
from tests.show.installed import ELSEWHERE, PLACE, installation, populate
from tests.stories.latency import percentile

PHARMACY = Ask(title="약국?", content="연동", urgency="urgent", lat=PLACE[0], lng=PLACE[1])
PLACES, TIMES = 200, 20
ASKED, EXPLAINED, EXPLAIN_MS = 10, 1000, 50
CLAIMERS, ACKS = 1000, 1000


async def ranked(d: Domain) -> list[float]:
    """Seconds to rank and write one wave, so many times, each of a question of its own."""
    took = []
    for number in range(TIMES + 2):
        question = await verbs.ask(d, f"asker-{time.monotonic_ns()}", PHARMACY)
        start = time.perf_counter()
        told = await waves.tell_audience(d, question.id, 1)
        if number > 1:  # the first two fill caches and plans
            took.append(time.perf_counter() - start)
        assert told == PLACES
    return took


async def ranking(count: int, limit_ms: float) -> Verdict:
    """Alone, and beside as many people outside the circle again."""
    async with installation() as d:
        await populate(d, PLACE, count, "in-")
        alone = percentile(await ranked(d), 0.95) * 1000
        await populate(d, ELSEWHERE, count, "out-")
        beside = percentile(await ranked(d), 0.95) * 1000
    figures = f"n={TIMES} p95={alone:.0f}ms, beside {count} people elsewhere {beside:.0f}ms"
    return Verdict(max(alone, beside) < limit_ms, figures)


async def ten_thousand() -> Verdict:
    return await ranking(10_000, 300)


async def hundred_thousand() -> Verdict:
    return await ranking(100_000, 1000)


async def explained() -> Verdict:
    """Of people told, over the wave's number, beyond those whose decision is kept, and far away."""
    async with installation() as d:
        await populate(d, PLACE, 50_000, "in-")
        await populate(d, ELSEWHERE, 50_000, "out-")
        asked = [(await verbs.ask(d, f"asker-{n}", PHARMACY)).id for n in range(ASKED)]
        for id in asked:
            await waves.tell_audience(d, id, 1)
        people = await d.pool.fetch(
            "(SELECT user_id FROM decisions GROUP BY 1 ORDER BY 1 LIMIT $1)"
            " UNION ALL (SELECT id FROM users WHERE id LIKE 'in-%' ORDER BY md5(id) LIMIT $1)"
            " UNION ALL (SELECT id FROM users WHERE id LIKE 'out-%' ORDER BY md5(id) LIMIT $1)",
            EXPLAINED // 3,
        )
        took, reasons = [], set[str]()
        for number, row in enumerate(people):
            start = time.perf_counter()
            found = await explain.explain(d, row["user_id"], question_id=asked[number % len(asked)])
            took.append(time.perf_counter() - start)
            reasons.add(found.reason)
    p50, p99 = (percentile(took, share) * 1000 for share in (0.5, 0.99))
    figures = f"n={len(took)} p50={p50:.1f}ms p99={p99:.1f}ms max={max(took) * 1000:.1f}ms"
    enough = {"ranked", "cap_wave", "outside_radius"} <= reasons
    return Verdict(p99 < EXPLAIN_MS and enough, f"{figures}, reasons {' '.join(sorted(reasons))}")


async def _claim(d: Domain, question_id: str, name: str) -> bool:
    """Whether it was granted; whatever is neither granted nor refused raises."""
    try:
        async with d.outbox.change() as change:
            await claiming.claim(d, change, name, question_id)
    except HubError as error:
        if error.code is not Code.CONFLICT:
            raise
        return False
    return True


async def claimed() -> Verdict:
    """Everybody at once, released, and once more: never more than k live, counted in the rows."""
    async with installation() as d:
        k, rounds, granted, took = d.policy.urgent_claims, 5, list[int](), list[float]()
        for number in range(rounds):
            question = await verbs.ask(d, f"asker-{number}", PHARMACY)
            start = time.perf_counter()
            got = await asyncio.gather(*(_claim(d, question.id, f"p-{n}") for n in range(CLAIMERS)))
            took.append(time.perf_counter() - start)
            granted += [sum(got), await _living(d, question.id, d.now())]
    figures = f"{rounds} x {CLAIMERS} claims, granted and living {sorted(set(granted))} of k={k}"
    return Verdict(set(granted) == {k}, f"{figures}, wall p50={percentile(took, 0.5):.2f}s")


async def _living(d: Domain, question_id: str, now: datetime) -> int:
    return int(
        await d.pool.fetchval(
            "SELECT count(*) FROM question_claims WHERE question_id = $1"
            " AND released_at IS NULL AND lease_until > $2",
            question_id,
            now,
        )
    )


class Counted:
    """Statements of a pool's connections, the transactions' own among them."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def hear(self, done: object) -> None:
        self.statements.append(str(getattr(done, "query", "")))


async def acknowledged() -> Verdict:
    """As one node's sockets do: each waits until its own is kept."""
    async with installation() as d:
        names = [f"p-{n}" for n in range(ACKS)]
        async with d.pool.acquire() as conn:
            for name in names:
                await members.ensure(d, conn, name)
        question = await verbs.ask(d, "mina", PHARMACY)
        d = replace(d, policy=replace(d.policy, urgent_max_recipients=ACKS))
        heard, held = Counted(), [await d.pool.acquire() for _ in range(d.pool.get_max_size())]
        for conn in held:
            conn.add_query_logger(heard.hear)
            await d.pool.release(conn)
        acks = Acks(d)
        start = time.perf_counter()
        await asyncio.gather(*(acks.take(Shown(name, (), (question.id,))) for name in names))
        took = time.perf_counter() - start
        kept = await d.pool.fetchval("SELECT acknowledged FROM urgent_waves WHERE wave = 1")
    count = len(heard.statements)
    figures = f"{ACKS} people in {took * 1000:.0f}ms, {count} statements, {kept} kept"
    return Verdict(took < 1 and 0 < count < ACKS / 20 and kept == ACKS, figures)
