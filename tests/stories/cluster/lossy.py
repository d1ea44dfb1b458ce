"""Story: the owner of our slot dies, and the replica that takes over knows nothing of late."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import monotonic

from hub.domain.context import Domain
from hub.domain.notifications.writing import News
from tests import verbs
from tests.stories.cluster.clients import Client
from tests.stories.cluster.clustered import Clustered
from tests.stories.cluster.faults import PATIENCE_S, listening, swept
from tests.stories.cluster.nodes import Nodes

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """`connected` people hear while it happens, `away` ones come back afterwards: a half left
    before the replica was left behind, the others while alerts passed that it never had.
    """

    connected: int = 60
    away: int = 20
    alerts: int = 2000


@dataclass(slots=True)
class Result:
    """`unknown` of the alerts were published and forgotten by the new owner. `lacking` are those
    that somebody neither heard nor found in the inbox after the word `recovered: false`.
    """

    alerts: int
    unknown: int
    heard: int
    repeats: int
    in_inbox: int
    lacking: int
    told: int
    returned: int
    dropped: int
    left_in_outbox: int
    away_s: float
    listening_s: float

    @property
    def clean(self) -> bool:
        return (
            self.unknown == self.alerts
            and self.told == self.returned
            and not (self.lacking or self.dropped or self.left_in_outbox)
        )

    def __str__(self) -> str:
        return (
            f"{self.alerts} alerts published, {self.unknown} unknown to the promoted replica:"
            f" heard {self.heard} (and {self.repeats} again), in the inbox of who came back"
            f" {self.in_inbox}, lacking {self.lacking}; old offsets told recovered: false"
            f" {self.told} of {self.returned}; sockets dropped {self.dropped}, outbox at the end"
            f" {self.left_in_outbox}; away {self.away_s:.1f}s, all nodes listen"
            f" {self.listening_s:.1f}s after its return"
        )


class Person:
    """Somebody with a socket, and the ids of what they were to be told."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self.alerts: set[str] = set()

    @property
    def heard(self) -> list[str]:
        """Ids of the alerts that came by the socket, in order."""
        return [data["id"] for event, data in self.client.others if event == "notification:new"]

    @property
    def lacking(self) -> set[str]:
        return self.alerts.difference(self.client.synced)


async def play(nodes: Nodes, store: Clustered, plan: Plan) -> Result:
    """The nodes need a worker beside them: it sweeps the outbox."""
    people = [await _person(nodes, number) for number in range(plan.connected + plan.away)]
    stay, leave = people[: plan.connected], people[plan.connected :]
    early, late = leave[::2], leave[1::2]
    _park(early)
    await store.leave_behind()
    await _alert(nodes.domain, people, plan.alerts // 2)
    _park(late)
    await _alert(nodes.domain, people, plan.alerts - plan.alerts // 2)
    ids = [one for person in people for one in person.alerts]
    begin = monotonic()
    known = await store.promote([nodes.names[0].published(one) for one in ids])
    back = monotonic()
    listening_s = await listening(nodes) - back
    left = await swept(nodes.domain)
    for person in leave:
        await person.client.resume()
    await _settled(stay)
    in_inbox = sum([await _looked_up(person) for person in leave])
    heard = [person.heard for person in people]
    once = sum(len(set(ids)) for ids in heard)
    result = Result(
        alerts=len(ids),
        unknown=len(ids) - known,
        heard=once,
        repeats=sum(map(len, heard)) - once,
        in_inbox=in_inbox,
        lacking=sum(len(person.lacking) for person in people),
        told=sum(not person.client.ready["recovered"] for person in leave),
        returned=len(leave),
        dropped=sum(len(person.client.gaps) for person in stay),
        left_in_outbox=left,
        away_s=back - begin,
        listening_s=listening_s,
    )
    await asyncio.gather(*(person.client.close() for person in people))
    return result


async def _person(nodes: Nodes, number: int) -> Person:
    name = f"alerted-{number}"
    return Person(name, await Client(nodes.url, nodes.token(name)).connect())


def _park(people: Iterable[Person]) -> None:
    for person in people:
        person.client.park()


async def _alert(domain: Domain, people: Sequence[Person], count: int) -> None:
    """So many, to each in turn; returns when all of them were committed and published."""
    turns = islice(cycle(people), count)

    async def some() -> None:
        for person in turns:
            news = News(person.name, "welcome", "제목", "본문", announce=True)
            person.alerts.update(str(one.id) for one in await verbs.notify(domain, news))

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def _settled(people: Sequence[Person]) -> None:
    """Until everybody has heard everything, or the time is up: the result tells."""
    until = monotonic() + PATIENCE_S
    while monotonic() < until and any(person.lacking for person in people):
        await asyncio.sleep(0.1)


async def _looked_up(person: Person) -> int:
    """How many alerts only the inbox has; whoever was told `recovered: true` does not look."""
    before = person.lacking
    if not person.client.ready["recovered"]:
        await person.client.sync()
    return len(before - person.lacking)
