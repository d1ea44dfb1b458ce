"""What everything here is given: the stores, the sockets of this node, the rows of namespaces."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from hub.cluster.bus import Bus
from hub.cluster.emitter import Emitter
from hub.cluster.presence import Presence
from hub.cluster.recovery import Recovery
from hub.cluster.requests import Requests
from hub.cluster.sessions import Sessions
from hub.domain.arrival import Arrival
from hub.domain.chat import Talk
from hub.domain.context import Domain
from hub.engine import Event, Member, Server, Wheel
from hub.plumbing.life.together import Together
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.product import Sockets
from hub.plumbing.telemetry.logs import AccessLog
from hub.sockets.acks import Acks
from hub.sockets.logins import Logins
from hub.sockets.revocations import Revocations
from protocol.events import SERVER_EVENTS, Emit
from protocol.names import MAIN, user_room
from protocol.payload import Message, plain

Handler = Callable[["Node", Member, Any], Awaitable[Message]]
"""Acts on one client event: node, member, payload. Raises HubError."""


@dataclass(frozen=True, slots=True)
class Order:
    """Sockets that are in any of `rooms` (none: all) and in none of `excepted` change rooms; with
    `keep_asked` they keep what their clients asked for.
    """

    rooms: tuple[str, ...]
    excepted: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    done: asyncio.Future[None] | None = None
    namespace: str = MAIN
    keep_asked: bool = False


@dataclass(frozen=True, slots=True)
class Entrance:
    """A socket that is being let in. `welcome` is None while Postgres is away, `near` are the open
    urgent questions of its cells that it was not told before.
    """

    welcome: Arrival | None
    recovered: bool
    near: Sequence[Emit]


async def home_alone(_node: "Node", user_id: str) -> Arrival:
    """Where only a person's own room is automatic."""
    return Arrival((user_room(user_id),), 0)


def no_word(_node: "Node", _member: Member, _entrance: Entrance) -> None:
    """Where the answer to CONNECT says it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """One place where people connect.

    `handlers` are by name of event. `welcome` finds out a person's automatic rooms, `greet` puts
    what a socket is told first before what was held back for it. Members of rooms of a kind in
    `told` hear how many people are in them, by the event that `count` makes of room and figure;
    being in a room of a kind in `counted` makes somebody one of these people. `came` and `went`,
    where they are, make of room, person and figure what all of a small room hear of that person.
    """

    name: str
    handlers: Mapping[str, Handler]
    told: frozenset[str]
    counted: frozenset[str]
    count: Callable[[str, int], tuple[str, Message]]
    welcome: Callable[["Node", str], Awaitable[Arrival]] = home_alone
    greet: Callable[["Node", Member, Entrance], None] = no_word
    came: Callable[[str, str, int], tuple[str, Message]] | None = None
    went: Callable[[str, str, int], tuple[str, Message]] | None = None


@dataclass(slots=True, eq=False)
class Node:
    """`namespaces` by name, `guests` by token; `stale` are people whose automatic rooms must be
    found out anew, each with the doubt that came last; `told` are namespace and name of the rooms
    with members here that hear how many people are there, each with the counts that answers have
    told since all of the room were.

    What Postgres knows of a socket is asked together by all who come at once: `arrivals` of people,
    `still_open` of a person and the rooms of a session, `open_in` (open urgent questions) of a
    place. `admitting` is who is being let in.
    """

    id: str
    namespaces: Mapping[str, Namespace]
    domain: Domain
    server: Server
    bus: Bus
    emitter: Emitter
    presence: Presence
    sessions: Sessions
    recovery: Recovery
    requests: Requests
    limits: Limits
    acks: Acks
    talk: Talk
    arrivals: Together[str, Arrival]
    still_open: Together[tuple[str, tuple[str, ...]], tuple[str, ...]]
    open_in: Together[str, list[Emit]]
    admitting: asyncio.Semaphore
    logins: Logins
    figures: Sockets
    access: AccessLog
    guests: dict[str, Member]
    orders: asyncio.Queue[Order]
    expiries: Wheel[Member]
    expiring_lead_s: float
    expired_grace_s: float
    revocations: Revocations
    stale: dict[str, object] = field(default_factory=dict)
    told: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def doubt(self, user_id: str) -> None:
        """Their rooms are to be found out anew, also where that is being done just now."""
        self.stale[user_id] = object()

    def spawn(self, work: Any) -> None:
        """Run beside everything else; it handles its own errors."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """What was spawned ends; nobody's token runs out any more."""
        self.expiries.close()
        for task in tuple(self.tasks):
            task.cancel()

    def send(self, member: Member, name: str, message: Message) -> None:
        """An event to one socket: never recovered, its last argument an object."""
        event = event_of(name, message, namespace=member.namespace.name)
        self.server.deliver(event, (member.sid,))


def event_of(
    name: str, message: Message, *, namespace: str = MAIN, key: str | None = None
) -> Event:
    """An event to sockets of this node alone; a volatile one is replaced by its `key`."""
    klass = SERVER_EVENTS[name].klass
    data = {"id": str(uuid4()), **plain(message)}
    kind = "room" if klass == "-" else klass
    return Event([name, data], namespace=namespace, kind=kind, key=key and f"{name} {key}")
