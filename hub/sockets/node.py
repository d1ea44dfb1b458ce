"""One node: what its sockets need, put together once, and who sits on each socket."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from hub.cluster.bus import Bus
from hub.cluster.presence import Presence
from hub.cluster.recovery import Recovery
from hub.cluster.requests import Requests
from hub.cluster.sessions import Session, Sessions
from hub.domain.context import Domain
from hub.engine import Event, Member, Server
from hub.engine.wheel import Wheel
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.product import Sockets
from hub.plumbing.telemetry.logs import AccessLog
from hub.sockets.logins import Logins
from protocol.events import SERVER_EVENTS
from protocol.names import HIDDEN_ROOMS, room_kind
from protocol.payload import Message, plain
from protocol.tokens import Role, Token

NAMESPACE: Final = "/"
STREAMING: Final = "/streaming"
SERVED: Final = (NAMESPACE, STREAMING)
"""Where people may connect; the cluster counts servers by namespace, so only these are heard."""


@dataclass(slots=True, eq=False)
class Guest:
    """The person on a socket.

    `automatic` are the rooms the server chose, `asked` those the client joined. `token` names the
    connection on this node. `moved` says that the person's rooms changed while they were being
    found out, `behind` that the session could not be told of a change: whoever comes back to it
    would be in wrong rooms. `left` ends when no trace of the socket is left. `refused` counts
    refused events since `refused_since` (monotonic).
    """

    user_id: str
    role: Role
    expires_at: float
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    automatic: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    session: Session | None = None
    moved: bool = False
    behind: bool = False
    leaving: bool = False
    expiry: int = 0
    refused: int = 0
    refused_since: float = 0.0
    left: asyncio.Future[None] | None = None

    @classmethod
    def of(cls, token: Token) -> "Guest":
        return cls(token.user_id, token.role, token.expires_at)


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
    namespace: str = NAMESPACE
    keep_asked: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """`guests` by token; `stale` are people whose automatic rooms must be found out anew; `told`
    are namespace and name of the rooms with members here that hear how many they are.
    """

    id: str
    domain: Domain
    server: Server
    bus: Bus
    presence: Presence
    sessions: Sessions
    recovery: Recovery
    requests: Requests
    limits: Limits
    logins: Logins
    figures: Sockets
    access: AccessLog
    guests: dict[str, Member]
    orders: asyncio.Queue[Order]
    expiries: Wheel[Member]
    stale: dict[str, None] = field(default_factory=dict)
    told: dict[tuple[str, str], None] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

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
    name: str, message: Message, *, namespace: str = NAMESPACE, key: str | None = None
) -> Event:
    """An event to sockets of this node alone; a volatile one is replaced by its `key`."""
    klass = SERVER_EVENTS[name].klass
    data = {"id": str(uuid4()), **plain(message)}
    kind = "room" if klass == "-" else klass
    return Event([name, data], namespace=namespace, kind=kind, key=key and f"{name} {key}")


def guest_of(member: Member) -> Guest:
    guest = member.data
    assert isinstance(guest, Guest)
    return guest


def left_of(guest: Guest) -> asyncio.Future[None]:
    """Ends when no trace of the socket is left."""
    if guest.left is None:
        guest.left = asyncio.get_running_loop().create_future()
    return guest.left


def visible(member: Member) -> tuple[str, ...]:
    """The rooms a socket may be told of: those of places stay with the server."""
    names = (str(name) for name in member.room_names)
    return tuple(name for name in names if room_kind(name) not in HIDDEN_ROOMS)


Handler = Callable[[Node, Member, Any], Awaitable[Message]]
"""Acts on one client event: node, member, payload. Raises HubError."""
