"""Story: Redis goes away and comes back under traffic; every publish is accounted for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, time

import msgspec

from hub.domain.context import Domain
from protocol.events import Emit
from protocol.names import question_room
from tests.stories.cluster.balancer import is_ready
from tests.stories.cluster.clients import EVENT, Client, StockPython
from tests.stories.cluster.ledger import Account, Mark, audit, gaps, total
from tests.stories.cluster.nodes import Nodes, Service, make_questions

STORED_FROM = 1_000_000_000
"""Numbers of events that went through the outbox begin here, so that both can be told apart."""

PATIENCE_S = 30.0
READY_ANSWER_S = 3.0
RETURNING = 3
"""Clients that are away while Redis is: they come back with an offset of before."""

Fault = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` of direct and `stored` of written events a second, before and after the fault."""

    clients: int = 30
    rate: float = 100
    stored: float = 20
    before_s: float = 3
    after_s: float = 12


SHORT = Plan(clients=12, rate=40, stored=10, before_s=1, after_s=2)


@dataclass
class Stored:
    """Events told through the outbox, numbered; a number is noted once its change committed."""

    domain: Domain
    questions: Sequence[str]
    sent: dict[str, list[int]] = field(default_factory=dict)
    moments: list[float] = field(default_factory=list)

    async def run(self, rate: float, until: asyncio.Event) -> None:
        turn = 0
        while not until.is_set():
            room = question_room(self.questions[turn % len(self.questions)])
            number = STORED_FROM + turn
            id = f"stored-{turn}"
            data = {"id": id, "seq": number, "ts": int(time() * 1000)}
            self.moments.append(monotonic())
            async with self.domain.outbox.change() as change:
                change.tell(room, Emit(id=id, event=EVENT, rooms=(room,), data=data))
            self.sent.setdefault(room, []).append(number)
            turn += 1
            await asyncio.sleep(1 / rate)

    def during(self, begin: float, end: float) -> set[int]:
        """Numbers of what was told in this time."""
        return {STORED_FROM + n for n, at in enumerate(self.moments) if begin <= at < end}

    def expected(self, questions: Sequence[str]) -> list[int]:
        return [n for one in questions for n in self.sent.get(question_room(one), [])]


@dataclass(slots=True)
class Result:
    """Of the publishes made while Redis was away: `delivered`, `waiting` in the outbox when it
    came back, `errors`; s from its return until all nodes are ready, and until everybody hears
    again. `lost` are numbers that neither failed nor reached all their members; `examples` say who
    lacks one, and when it was made (s after the fault began). `unready` is how often no node at all
    was ready, of ten looks a second.
    """

    direct: Account
    stored: Account
    away_s: float
    listening_s: float
    hearing_s: float
    made: int
    delivered: int
    waiting: int
    errors: int
    lost: int
    left_in_outbox: int
    dropped: int
    refused_offsets: int
    returned: int
    unready: int
    examples: list[str]

    def __str__(self) -> str:
        return (
            f"away {self.away_s:.1f}s, all nodes listen {self.listening_s:.1f}s after its return,"
            f" everybody hears after {self.hearing_s:.1f}s;"
            f" made while away {self.made} = delivered {self.delivered} + in the outbox"
            f" {self.waiting} + errors {self.errors}; lost {self.lost}, outbox at the end"
            f" {self.left_in_outbox}; direct: {self.direct}; stored: {self.stored}; sockets"
            f" dropped {self.dropped}; old offsets told recovered: false"
            f" {self.refused_offsets} of {self.returned}; looks at which no node was ready"
            f" {self.unready}"
            f"{' e.g. ' + '; '.join(self.examples[:5]) if self.examples else ''}"
        )

    def adds_up(self, *, new_epoch: bool) -> bool:
        """Whether all of it is as it must be; repeats are allowed across an epoch only."""
        repeats = self.direct.repeats + self.stored.repeats
        epochs = self.refused_offsets == (self.returned if new_epoch else 0)
        return (
            self.made == self.delivered + self.waiting + self.errors
            and not (self.lost or self.left_in_outbox or self.direct.gaps or self.stored.gaps)
            and not (self.direct.disorder or self.stored.disorder)
            and max(self.listening_s, self.hearing_s) < 5
            and (new_epoch or not repeats)
            and epochs
        )


async def play(nodes: Nodes, fault: Fault, plan: Plan) -> Result:
    """The nodes need a worker beside them: it sweeps the outbox."""
    questions = await make_questions(nodes.domain, max(1, plan.clients // 3))
    people = await _connected(nodes, questions, plan.clients)
    stock = StockPython(nodes.url, nodes.token("s"), recovery=True, questions=questions[:1])
    await stock.connect()
    direct, stored = Service(nodes.redis, questions, nodes.names), Stored(nodes.domain, questions)
    away = people[:RETURNING]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(direct.run(plan.rate, plan.rate / 20, done))
        group.create_task(stored.run(plan.stored, done))
        unready = group.create_task(_unready(nodes, done))
        await asyncio.sleep(plan.before_s)
        for one in away:
            one.park()
        begin = monotonic()
        back = await fault()
        waiting = await _waiting(nodes.domain)
        listening_s = await listening(nodes) - back
        await asyncio.sleep(plan.after_s / 2)
        for one in away:
            await one.resume()
        await asyncio.sleep(plan.after_s / 2)
        done.set()
    left = await swept(nodes.domain)
    everybody: list[Client | StockPython] = [*people, stock]
    books = await _settled(direct, stored, everybody)
    made = direct.during(begin, back) | stored.during(begin, back)
    errors = made & direct.failed
    result = Result(
        direct=books.account(direct),
        stored=books.account(stored),
        away_s=back - begin,
        listening_s=listening_s,
        hearing_s=max(_first_after(back, one.heard_at) for one in people[RETURNING:]) - back,
        made=len(made),
        waiting=len(made & waiting),
        errors=len(errors),
        delivered=len(made - waiting - errors - books.lost),
        lost=len(books.lost),
        left_in_outbox=left,
        dropped=sum(len(one.gaps) for one in people[RETURNING:]),
        refused_offsets=sum(not one.ready["recovered"] for one in away),
        returned=len(away),
        unready=unready.result(),
        examples=[
            f"client {place} lacks {number} of {_made_at(number, direct, stored) - begin:.3f}s"
            for place, number in books.lacking
        ],
    )
    await asyncio.gather(*(one.close() for one in everybody))
    return result


async def _connected(nodes: Nodes, questions: Sequence[str], count: int) -> list[Client]:
    return [
        await Client(
            nodes.url, nodes.token(f"f-{n}"), questions=(questions[n % len(questions)],)
        ).connect()
        for n in range(count)
    ]


class Books:
    """What everybody heard, held against what did not fail. `lacking` are places of people and
    numbers that they neither heard nor were told to have missed; `lost` are these numbers.
    """

    def __init__(
        self, direct: Service, stored: Stored, people: Sequence[Client | StockPython]
    ) -> None:
        self._failed = direct.failed
        self._urgent = frozenset(direct.urgent)
        self._people = people
        self.lacking = [
            (place, number)
            for of in (direct, stored)
            for place, one in enumerate(people)
            for number in sorted(gaps(self._expected(one, of), self._heard(one, of)))
        ]
        self.lost = {number for _, number in self.lacking}

    def _heard(self, one: Client | StockPython, of: Service | Stored) -> list[int | Mark]:
        """Without what failed: it may have gone out and may not."""
        return [
            n
            for n in one.heard
            if isinstance(n, Mark)
            or ((n >= STORED_FROM) == isinstance(of, Stored) and n not in self._failed)
        ]

    def _expected(self, one: Client | StockPython, of: Service | Stored) -> list[int]:
        return [n for n in of.expected(one.questions) if n not in self._failed]

    def account(self, of: Service | Stored) -> Account:
        return total(
            audit(self._expected(one, of), self._heard(one, of), self._urgent)
            for one in self._people
        )


def _first_after(moment: float, moments: Sequence[float]) -> float:
    return min((at for at in moments if at > moment), default=float("inf"))


def _made_at(number: int, direct: Service, stored: Stored) -> float:
    """The moment (monotonic) at which it was published first."""
    if number >= STORED_FROM:
        return stored.moments[number - STORED_FROM]
    return direct.moments[number - 1]


async def _waiting(domain: Domain) -> set[int]:
    """Numbers of the events that wait in the outbox now."""
    rows = await domain.pool.fetch("SELECT payload FROM outbox WHERE published_at IS NULL")
    return {msgspec.msgpack.decode(row["payload"])["emit"]["data"]["seq"] for row in rows}


async def listening(nodes: Nodes) -> float:
    """The moment at which every node is ready."""
    async with asyncio.timeout(PATIENCE_S):
        while not all([await is_ready(url) for url in nodes.urls.values()]):
            await asyncio.sleep(0.02)
    return monotonic()


async def _unready(nodes: Nodes, until: asyncio.Event) -> int:
    """How often no node was ready: a balancer would have led nobody anywhere. It has to wait for
    the answer as long as that may take (S2-103).
    """
    times = 0
    while not until.is_set():
        looks = (is_ready(url, READY_ANSWER_S) for url in nodes.urls.values())
        times += not any(await asyncio.gather(*looks))
        await asyncio.sleep(0.1)
    return times


async def swept(domain: Domain) -> int:
    """Rows that are left when the sweeper had its time."""
    until = monotonic() + PATIENCE_S
    query = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
    while (left := int(await domain.pool.fetchval(query))) and monotonic() < until:
        await asyncio.sleep(0.1)
    return left


async def _settled(
    direct: Service, stored: Stored, people: Sequence[Client | StockPython]
) -> Books:
    """Once nobody lacks anything, or the time is up: the books tell."""
    until = monotonic() + PATIENCE_S
    while (books := Books(direct, stored, people)).lacking and monotonic() < until:
        await asyncio.sleep(0.2)
    return books
