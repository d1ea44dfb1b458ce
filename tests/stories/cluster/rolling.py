"""Story: three nodes are restarted one after the other under traffic."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from tests.stories.cluster.balancer import Balancer, ready
from tests.stories.cluster.ledger import Account, audit, total
from tests.stories.cluster.nodes import Nodes, Service, make_questions
from tests.stories.cluster.swarm import Person, all_heard, crowd

LONGEST_WAIT_S = 1.5
"""Of a stock client, before it dials for the first time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rest_s` between a node's return and the next one's end."""

    sockets: int = 2000
    rooms: int = 100
    rate: float = 50
    rate_to_all: float = 0.5
    rest_s: float = 4


SHORT = Plan(sockets=150, rooms=20, rate=40, rate_to_all=1, rest_s=0.5)


@dataclass(slots=True)
class Result:
    """`busiest` is the most connects that one node that stayed saw in one second; `gaps` are the
    s clients were away.
    """

    account: Account
    lies: int
    published: int
    failed: int
    busiest: int
    gaps: list[float]
    codes: list[int]

    def gap(self, share: float) -> float:
        ordered = sorted(self.gaps)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def __str__(self) -> str:
        return (
            f"published={self.published} failed={self.failed} {self.account} lies={self.lies};"
            f" busiest second of a survivor: {self.busiest} connects; away"
            f" n={len(self.gaps)} p50={self.gap(0.5):.2f}s p99={self.gap(0.99):.2f}s"
            f" max={self.gap(1):.2f}s; exit codes {self.codes}"
        )


async def play(nodes: Nodes, plan: Plan) -> Result:
    questions = await make_questions(nodes.domain, plan.rooms)
    people = [
        Person(f"r-{n}", nodes.token(f"r-{n}"), (questions[n % plan.rooms],))
        for n in range(plan.sockets)
    ]
    service = Service(nodes.redis, questions, nodes.names)
    done = asyncio.Event()
    busiest: list[int] = []
    codes: list[int] = []
    async with crowd(nodes.url, people) as swarms:
        async with asyncio.TaskGroup() as group:
            group.create_task(service.run(plan.rate, plan.rate_to_all, done))
            for name in nodes.doors:
                await asyncio.sleep(plan.rest_s)
                begin = monotonic()
                codes.append(await nodes.stop(name))
                await asyncio.gather(nodes.start(name), asyncio.sleep(LONGEST_WAIT_S))
                await ready(nodes.urls[name])
                busiest.append(_busiest(nodes, begin, name))
            await asyncio.sleep(plan.rest_s)
            done.set()
        expected = {one.name: service.expected(one.questions) for one in people}
        reports = await all_heard(swarms, expected)
    urgent = frozenset(service.urgent)
    return Result(
        account=total(audit(expected[one.name], one.heard, urgent) for one in reports),
        lies=sum(one.lies for one in reports),
        published=service.count,
        failed=len(service.failed),
        busiest=max(busiest),
        gaps=[gap for one in reports for gap in one.gaps],
        codes=codes,
    )


def _busiest(nodes: Nodes, since: float, leaving: str) -> int:
    """The most connects to one other node in any second since then."""
    front = nodes.front
    assert isinstance(front, Balancer)
    return max(
        _most_in_a_second([at for at, to in front.accepted if to == name and at >= since])
        for name in nodes.doors
        if name != leaving
    )


def _most_in_a_second(moments: Sequence[float]) -> int:
    most = first = 0
    for last, at in enumerate(moments):
        while at - moments[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
