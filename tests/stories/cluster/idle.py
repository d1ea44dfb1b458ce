"""G10: ten thousand people who only listen, and traffic to a hundred rooms, on two nodes."""

import asyncio
import os
import resource
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.stories.cluster.clients import Client
from tests.stories.cluster.nodes import Nodes, Service, make_questions

AT_ONCE = 50
"""Handshakes under way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`talking` of the sockets are in a room each; the others hear what goes to all."""

    sockets: int = 10_000
    talking: int = 1000
    rooms: int = 100
    rate: float = 100
    seconds: float = 20


SHORT = Plan(sockets=600, talking=100, rooms=20, rate=50, seconds=3)


@dataclass(slots=True)
class Result:
    """Of each node: MiB resident, CPU seconds a second under traffic; `waits` in s."""

    sockets: int
    rss: list[float]
    before: list[float]
    idle: list[float]
    busy: list[float]
    connects: float
    heard: int
    expected: int
    dropped: int
    waits: list[float]

    def wait(self, share: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    def __str__(self) -> str:
        grown = sum(self.rss) - sum(self.before)
        rss, idle, busy = (
            " + ".join(f"{one:.{digits}f}" for one in some)
            for some, digits in ((self.rss, 0), (self.idle, 3), (self.busy, 3))
        )
        return (
            f"{self.sockets} sockets at {self.connects:.0f} connects/s, RSS {rss} MiB"
            f" ({grown * 1024 / self.sockets:.1f} KiB a socket), CPU idle {idle}, under traffic"
            f" {busy} of a core; heard {self.heard} of {self.expected}, p50={self.wait(0.5):.1f}ms"
            f" p99={self.wait(0.99):.1f}ms max={self.wait(1):.1f}ms; dropped {self.dropped}"
        )


async def play(nodes: Nodes, plan: Plan) -> Result:
    allow_many_files()
    questions = await make_questions(nodes.domain, plan.rooms)
    pids = [door.pid for door in nodes.doors.values()]
    before = [_rss(pid) for pid in pids]
    begin = monotonic()
    people = await _arrive(nodes, plan, questions)
    connects = len(people) / (monotonic() - begin)
    await asyncio.sleep(1)
    idle = await _load(pids, asyncio.sleep(min(10.0, plan.seconds)))
    service = Service(nodes.redis, questions, nodes.names)
    busy = await _load(pids, _traffic(service, plan))
    await asyncio.sleep(1)
    talking = people[: plan.talking]
    result = Result(
        sockets=len(people),
        rss=[_rss(pid) for pid in pids],
        before=before,
        idle=idle,
        busy=busy,
        connects=connects,
        heard=sum(len(one.heard) for one in talking),
        expected=sum(len(service.expected(one.questions)) for one in talking),
        dropped=sum(len(one.gaps) for one in people),
        waits=[wait for one in talking for wait in one.waits],
    )
    for one in people:
        await one.close()
    return result


async def _arrive(nodes: Nodes, plan: Plan, questions: Sequence[str]) -> list[Client]:
    urls = list(nodes.urls.values())
    gate = asyncio.Semaphore(AT_ONCE)

    async def arrive(number: int) -> Client:
        mine = (questions[number % plan.rooms],) if number < plan.talking else ()
        url = urls[number % len(urls)]
        async with gate:
            return await Client(url, nodes.token(f"i-{number}"), questions=mine).connect()

    return list(await asyncio.gather(*(arrive(number) for number in range(plan.sockets))))


async def _traffic(service: Service, plan: Plan) -> None:
    done = asyncio.Event()
    running = asyncio.create_task(service.run(plan.rate, 0, done))
    await asyncio.sleep(plan.seconds)
    done.set()
    await running


async def _load(pids: Sequence[int], work: Awaitable[None]) -> list[float]:
    """CPU seconds a second of each process while the work is done."""
    begin, before = monotonic(), [_cpu(pid) for pid in pids]
    await work
    took = monotonic() - begin
    return [(_cpu(pid) - was) / took for pid, was in zip(pids, before, strict=True)]


def _rss(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu(pid: int) -> float:
    """s of user and system time (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def allow_many_files() -> None:
    """As many as the machine allows, here and in the processes started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
