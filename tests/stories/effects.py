"""Each domain event many times, in any order, by both roads, while the processes that take them are
killed: whatever follows from it follows once."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import msgspec

from hub.domain import queues
from hub.domain.context import Domain
from protocol.payload import iso
from tests.client import Refused
from tests.stories.fleet import Fleet
from tests.stories.processes import Door

STREAM: Final = "events"
TIMES: Final = 5
SIDE_BY_SIDE: Final = 4
PATIENCE_S: Final = 60.0

SETTLED: Final = (
    "SELECT (SELECT count(*) FROM inbox_events WHERE processed_at IS NULL AND attempts < 5)"
    " + (SELECT count(*) FROM pgqueuer WHERE entrypoint = 'event' AND status <> 'failed')"
    " + (SELECT count(*) FROM outbox WHERE published_at IS NULL)"
)
"""How much is still under way."""


@dataclass
class Effects:
    """`wrong` names what was there not once, with how often it was."""

    deliveries: int = 0
    by: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    put_back: int = 0
    right: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        killed = "+".join(f"{count} {kind}" for kind, count in sorted(self.killed.items()))
        right = ", ".join(f"{count} {what}" for what, count in self.right.items())
        return (
            f"{self.deliveries} deliveries (stream {self.by['stream']}, REST {self.by['rest']}),"
            f" {self.repeated} repeated after a lost answer, {killed or '0'} killed,"
            f" {self.put_back} events put back; once each: {right}; wrong={self.wrong or 'none'}"
        )


async def tell(fleet: Fleet, stories: int, kills: int, seed: int) -> Effects:
    """So many stories of all nine kinds of events; at least `kills` processes are killed
    meanwhile, apis and workers in turn by chance."""
    chance, seen, over = random.Random(seed), Effects(), asyncio.Event()
    killing = asyncio.create_task(_kill(fleet, seen, chance, kills, over))
    lanes = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(number: int) -> None:
        async with lanes:
            await _deliver(fleet, seen, events_of(fleet.domain, number), chance)

    await asyncio.gather(*(one(number) for number in range(stories)))
    over.set()
    await killing
    await _settle(fleet, seen)
    await _count(fleet, seen, stories)
    return seen


def events_of(d: Domain, n: int) -> list[dict[str, Any]]:
    """Of one question, its asker, its answerer; of somebody who goes, and of somebody whose tokens
    are revoked. Each says when it happened."""
    start = d.now() - timedelta(minutes=5)
    ids = {"questionId": f"q{n}", "questionerId": f"asker{n}", "answererId": f"answerer{n}"}
    told: list[tuple[str, dict[str, Any]]] = [
        ("user.registered", {"userId": f"asker{n}"}),
        ("user.registered", {"userId": f"answerer{n}"}),
        ("user.updated", {"userId": f"answerer{n}", "nickname": f"답{n}"}),
        ("question.created", {"questionId": f"q{n}", "userId": f"asker{n}", "title": "약국?"}),
        ("answer.created", {"answerId": f"a{n}", "excerpt": "저기요", **ids}),
        ("answer.accepted", {"answerId": f"a{n}", "points": 7, **ids}),
        ("question.updated", {"questionId": f"q{n}", "title": "문 연 약국?"}),
        ("question.closed", {"questionId": f"q{n}"}),
        ("user.deleted", {"userId": f"gone{n}"}),
        ("session.revoked", {"userId": f"cut{n}"}),
    ]
    return [
        {
            "eventId": str(uuid4()),
            "eventType": kind,
            "occurredAt": iso(start + timedelta(seconds=number)),
            "publisher": "qa-service",
            "payload": payload,
        }
        for number, (kind, payload) in enumerate(told)
    ]


async def _deliver(
    fleet: Fleet, seen: Effects, events: list[dict[str, Any]], chance: random.Random
) -> None:
    copies = [(one, chance.choice(("stream", "rest"))) for one in events for _ in range(TIMES)]
    chance.shuffle(copies)
    for event, road in copies:
        seen.deliveries += 1
        seen.by[road] += 1
        if road == "stream":
            form = chance.choice((msgspec.json, msgspec.msgpack))
            await fleet.line.call("XADD", STREAM, "*", "e", form.encode(event))
        else:
            await _post(fleet, seen, event, chance)


async def _post(fleet: Fleet, seen: Effects, event: dict[str, Any], chance: random.Random) -> None:
    """As a publisher does: until some api has said that it took it."""
    while True:
        n = chance.randrange(2)
        caller = fleet.services[n]
        caller.url = fleet.apis[n].url  # one that was started again has another port
        try:
            await caller.call("POST", "/events", event)
        except (aiohttp.ClientError, OSError, Refused) as error:
            if isinstance(error, Refused) and error.status != 503:
                raise
            seen.repeated += 1
            await asyncio.sleep(0.1)
        else:
            return


async def _kill(
    fleet: Fleet, seen: Effects, chance: random.Random, most: int, over: asyncio.Event
) -> None:
    """One after the other, so that of each kind one lives. What is killed is started again."""
    for _ in range(most):
        kind, doors = chance.choice((("api", fleet.apis), ("worker", fleet.workers)))
        victim: Door = chance.choice(doors)
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), chance.uniform(0.05, 0.5))
        await victim.kill()
        seen.killed[kind] += 1
        await victim.start()


async def _settle(fleet: Fleet, seen: Effects) -> None:
    """Until nothing is under way; what was given up, because what it is about came too late, is put
    back as an operator does."""
    d = fleet.domain
    async with asyncio.timeout(PATIENCE_S):
        while True:
            waiting = await fleet.line.call("XLEN", STREAM)
            if not waiting and not await d.pool.fetchval(SETTLED):
                failed = await d.pool.fetch(
                    "SELECT event_id FROM inbox_events WHERE processed_at IS NULL"
                )
                if not failed:
                    return
                for row in failed:
                    await queues.requeue_event(d, UUID(str(row["event_id"])))
                    seen.put_back += 1
            await asyncio.sleep(0.1)


async def _count(fleet: Fleet, seen: Effects, stories: int) -> None:
    d = fleet.domain
    for what, query in {
        "welcomes": "SELECT user_id AS of, count(*) AS n FROM notifications"
        " WHERE kind = 'welcome' GROUP BY 1",
        "answer alerts": "SELECT answer_id AS of, count(*) AS n FROM notifications"
        " WHERE kind = 'answer_created' GROUP BY 1",
        "acceptances": "SELECT answer_id AS of, count(*) AS n FROM notifications"
        " WHERE kind = 'answer_accepted' GROUP BY 1",
        "point rows": "SELECT answer_id AS of, count(*) AS n FROM point_transactions GROUP BY 1",
        "questions": "SELECT id AS of, count(*) AS n FROM questions WHERE status = 'closed'"
        " AND title = '문 연 약국?' GROUP BY 1",
        "erased": "SELECT id AS of, 1 AS n FROM users WHERE deleted_at IS NOT NULL",
    }.items():
        rows = {row["of"]: row["n"] for row in await d.pool.fetch(query)}
        _judge(seen, what, rows, stories * (2 if what == "welcomes" else 1))
    entries = await fleet.line.call("XRANGE", "events:out", "-", "+")
    told = [msgspec.msgpack.decode(fields[1]) for _, fields in entries]
    credited = Counter(
        str(one["payload"]["sourceEventId"])
        for one in told
        if one["eventType"] == "points.credited"
    )
    _judge(seen, "outgoing points.credited", dict(credited), stories)
    balances = await d.pool.fetch(
        "SELECT user_id AS of, sum(amount) AS n FROM point_transactions GROUP BY 1"
    )
    odd = {row["of"]: row["n"] for row in balances if row["n"] != 7}
    if odd:
        seen.wrong["balances"] = odd


def _judge(seen: Effects, what: str, rows: dict[str, int], expected: int) -> None:
    odd: dict[str, Any] = {of: n for of, n in rows.items() if n != 1}
    if len(rows) != expected:
        odd["of all"] = f"{len(rows)} instead of {expected}"
    if odd:
        seen.wrong[what] = odd
    seen.right[what] = sum(n == 1 for n in rows.values())
