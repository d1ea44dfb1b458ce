"""Story: nodes are killed one after the other under traffic, and nobody misses anything."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from redis.exceptions import RedisError

from hub.domain.notifications.writing import News
from tests import verbs
from tests.stories.cluster.clients import Client, StockPython
from tests.stories.cluster.ledger import Account, Heard, Mark, audit, gaps, total
from tests.stories.cluster.nodes import Nodes, Service, make_questions
from tests.stories.cluster.swarm import Person, Swarm

MEMBERS_OF_A_ROOM = 3
SETTLE_S = 30.0
RESTART_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Clients of each kind (`stock` of each Python kind are python-socketio's own), events a
    second, and `kills`, one every `every_s` s; `alerts` a second go to the inboxes of people
    without recovery.
    """

    javascript: int = 200
    python: int = 50
    repairing: int = 50
    stock: int = 50
    rate: float = 500
    rate_to_all: float = 5
    alerts: float = 5
    kills: int = 9
    every_s: float = 20


SHORT = Plan(
    javascript=24, python=9, repairing=9, stock=1, rate=60, rate_to_all=2, kills=2, every_s=3
)


@dataclass(slots=True)
class Result:
    """`unsynced` are alerts that somebody without recovery does not have at the end, `examples`
    say what a client lacks.
    """

    javascript: Account
    python: Account
    kills: int
    published: int
    rate: float
    failed: int
    worst_lag: float
    gaps: list[float]
    waits: list[float]
    lies: int
    alerts: int
    unsynced: int
    refusals: list[Any] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        whole = self.javascript + self.python
        return whole.clean and not (self.lies or self.unsynced or self.refusals or self.failed)

    def __str__(self) -> str:
        gaps, waits = sorted(self.gaps), sorted(self.waits)
        return (
            f"kills={self.kills} published={self.published} ({self.rate:.0f}/s, at most"
            f" {self.worst_lag * 1000:.0f}ms behind) failed={self.failed}; stock JS:"
            f" {self.javascript} lies={self.lies}; Python: {self.python}; without recovery:"
            f" alerts={self.alerts} missing after sync={self.unsynced}; away p50={_at(gaps, 0.5)}"
            f" p99={_at(gaps, 0.99)}; to the socket p50={_at(waits, 0.5)} p99={_at(waits, 0.99)}"
            f"{' refused ' + repr(self.refusals[:3]) if self.refusals else ''}"
            f"{' e.g. ' + '; '.join(self.examples[:5]) if self.examples else ''}"
        )


def _at(ordered: Sequence[float], share: float) -> str:
    if not ordered:
        return "-"
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.0f}ms"


class Hearer(Protocol):
    heard: list[int | Mark]
    questions: Sequence[str]


async def play(nodes: Nodes, plan: Plan) -> Result:
    """The whole story on nodes that run."""
    clients = plan.javascript + plan.python + plan.repairing
    questions = await make_questions(nodes.domain, clients // MEMBERS_OF_A_ROOM)
    room = iter(n % len(questions) for n in range(clients))
    javascript = [
        Person(f"js-{n}", nodes.token(f"js-{n}"), (questions[next(room)],))
        for n in range(plan.javascript)
    ]
    swarm = await Swarm.start(nodes.url, javascript)
    python = _people(nodes, "py", plan.python, plan.stock, True, questions, room)
    repairing = _people(nodes, "repairs", plan.repairing, plan.stock, False, questions, room)
    for one in (*python, *repairing):
        await one.connect()
    service = Service(nodes.redis, questions, nodes.names)
    alerts: dict[str, list[str]] = {}
    await _kill_under_traffic(nodes, service, plan, alerts)
    expected = {one.name: service.expected(one.questions) for one in javascript}
    urgent = frozenset(service.urgent)
    await _settled(python, service)
    await _settled_swarm(swarm, expected)
    reports = await swarm.report()
    missing = await _missing_alerts(repairing, alerts)
    result = Result(
        examples=[
            f"{r.name} lacks {number} of {service.count}, made at {service.moments[number - 1]:.2f}"
            for r in reports
            for number in sorted(gaps(expected[r.name], r.heard))
        ],
        javascript=total(audit(expected[r.name], r.heard, urgent) for r in reports),
        python=total(audit(service.expected(p.questions), p.heard, urgent) for p in python),
        kills=plan.kills,
        published=service.count,
        rate=service.count / service.seconds,
        failed=len(service.failed),
        worst_lag=service.worst_lag,
        gaps=[gap for r in reports for gap in r.gaps],
        waits=[wait for r in reports for wait in r.waits],
        lies=sum(r.lies for r in reports),
        alerts=sum(map(len, alerts.values())),
        unsynced=missing,
        refusals=[r.refusal for r in reports if not r.connected],
    )
    for one in (*python, *repairing):
        await one.close()
    await swarm.stop()
    return result


def _people(
    nodes: Nodes,
    name: str,
    count: int,
    stock: int,
    recovery: bool,
    questions: Sequence[str],
    room: Any,
) -> list[Client | StockPython]:
    people: list[Client | StockPython] = []
    for n in range(count):
        who, mine = nodes.token(f"{name}-{n}"), (questions[next(room)],)
        if n < stock:
            people.append(StockPython(nodes.url, who, recovery=recovery, questions=mine))
        else:
            people.append(Client(nodes.url, who, recovery=recovery, questions=mine))
    return people


async def _kill_under_traffic(
    nodes: Nodes, service: Service, plan: Plan, alerts: dict[str, list[str]]
) -> None:
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run(plan.rate, plan.rate_to_all, done))
        group.create_task(_alert(nodes, plan, alerts, done))
        begin = monotonic()
        for number in range(plan.kills):
            await asyncio.sleep(plan.every_s / 2)
            name = list(nodes.doors)[number % len(nodes.doors)]
            await nodes.kill(name)
            await asyncio.sleep(min(RESTART_AFTER_S, plan.every_s / 4))
            await nodes.start(name)
            rest = begin + (number + 1) * plan.every_s - monotonic()
            await asyncio.sleep(max(0.0, rest))
        done.set()


async def _alert(
    nodes: Nodes, plan: Plan, alerts: dict[str, list[str]], done: asyncio.Event
) -> None:
    """Notifications for people without recovery, one after the other."""
    d, turn = nodes.domain, 0
    while not done.is_set():
        user_id = f"repairs-{turn % plan.repairing}"
        news = News(user_id, "welcome", "제목", "본문", announce=True)
        with suppress(RedisError):
            told = await verbs.notify(d, news)
        alerts.setdefault(user_id, []).extend(str(one.id) for one in told)
        turn += 1
        await asyncio.sleep(1 / plan.alerts)


async def _settled(people: Sequence[Client | StockPython], service: Service) -> None:
    """Until everybody has heard the last event of theirs, or the time is up: the audit tells."""
    until = monotonic() + SETTLE_S
    while monotonic() < until:
        if all(_has_last(one.heard, service.expected(one.questions)) for one in people):
            return
        await asyncio.sleep(0.2)


async def _settled_swarm(swarm: Swarm, expected: dict[str, list[int]]) -> None:
    until = monotonic() + SETTLE_S
    while monotonic() < until:
        reports = await swarm.report()
        if all(_has_last(r.heard, expected[r.name]) for r in reports):
            return
        await asyncio.sleep(1)


def _has_last(heard: Heard, expected: Sequence[int]) -> bool:
    return not expected or expected[-1] in heard[-len(expected) :]


async def _missing_alerts(
    people: Sequence[Client | StockPython], alerts: dict[str, list[str]]
) -> int:
    """What people without recovery lack after a last inbox:sync, as they do at each `ready`."""
    missing = 0
    for n, one in enumerate(people):
        async with asyncio.timeout(SETTLE_S):
            while True:
                try:
                    await one.sync()
                    break
                except Exception:  # between two connections
                    await asyncio.sleep(0.5)
        missing += len(set(alerts.get(f"repairs-{n}", ())) - one.synced)
    return missing
