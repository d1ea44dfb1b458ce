"""Clients in namespaces: what each of them is told goes through its `Member`, which keeps order."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import IntEnum
from typing import Any, Protocol

import orjson

from hub.engine.session import reasons
from hub.engine.session.link import Link
from hub.engine.wire.event import Event
from hub.engine.wire.packets import ACK, DEFAULT, EVENT, encode, prefix_of


class State(IntEnum):
    """Of a member. It is HELD until its CONNECT is answered: what reaches it meanwhile waits, so
    nothing is sent before its token was verified. LEAVING, it hears nothing more, and its
    disconnect handler finds its rooms and session; GONE, that handler has run."""

    HELD = 0
    LIVE = 1
    LEAVING = 2
    GONE = 3


HELD, LIVE, LEAVING, GONE = State

Jobs = deque[tuple[int | None, list[Any], int]]
"""Events that wait for their handlers: ack id, name with arguments, weight."""


class Space(Protocol):
    """What a member asks of its namespace."""

    @property
    def name(self) -> str: ...

    @property
    def max_held(self) -> int:
        """So many events may wait for a member that is held."""

    @property
    def everyone(self) -> Room:
        """The live members."""

    @property
    def ack_ids(self) -> Iterator[int]: ...

    def admit(self, member: Member) -> None:
        """From now on events reach it: what was held, then what is live."""

    def silence(self, member: Member) -> None:
        """Nothing is delivered to it any more; its rooms stay known until `remove`."""

    def remove(self, member: Member) -> None:
        """It is gone."""

    def settle(self, member: Member) -> None:
        """Write what was given to the member before and still waits to be joined or sliced."""

    def enter(self, member: Member, name: Hashable) -> None:
        """Put the member into a room."""

    def leave(self, member: Member, name: Hashable) -> None:
        """Take the member out of a room."""


class Party:
    """One session's members: a client is in a namespace by a CONNECT of its own for each."""

    __slots__ = ("admitting", "leaving", "link", "members")

    def __init__(self, link: Link) -> None:
        # What carries them now.
        self.link = link
        # Those that are held or live, oldest first.
        self.members: tuple[Member, ...] = ()
        # How many disconnect handlers are still running.
        self.leaving = 0
        # Done when the CONNECT that is under way is answered.
        self.admitting: Future[None] | None = None

    def member(self, namespace: str) -> Member | None:
        for member in self.members:
            if member.namespace.name == namespace:
                return member
        return None

    def add(self, member: Member) -> None:
        self.members = (*self.members, member)

    def drop(self, member: Member) -> None:
        """It is leaving: its disconnect handler is still to run."""
        self.members = tuple(other for other in self.members if other is not member)
        self.leaving += 1

    def sort(self) -> None:
        """Whether ready frames may be written straight to the socket has changed."""
        for member in self.members:
            member.sort()

    def moved(self, link: Link) -> None:
        """Another transport carries the session from now on."""
        self.link = link
        for member in self.members:
            member.link = link
            member.sort()


def members_of(link: Link) -> tuple[Member, ...]:
    """The members that a session carries."""
    hearer = link.hearer
    return hearer.members if isinstance(hearer, Party) else ()


class Member:
    """One client in one namespace, and the only way by which anything is said to it there.

    Whatever is given to it (`send`, `acknowledge`, `ask`, and what its namespace delivers) is seen
    by the client in the order in which it was given.
    """

    __slots__ = (
        "callbacks",
        "data",
        "fast",
        "hold",
        "jobs",
        "link",
        "namespace",
        "offset",
        "party",
        "pid",
        "recovery",
        "replayed",
        "rooms",
        "sid",
        "state",
    )

    def __init__(self, sid: str, party: Party, namespace: Space) -> None:
        # Its address, which is also its own room.
        self.sid = sid
        # Its session's members,
        self.party = party
        # and what carries them (`party.link`, kept here for the loops over a room).
        self.link = party.link
        self.namespace = namespace
        # The rooms it is in, made with the first one.
        self.rooms: dict[Hashable, Room] | None = None
        self.state = HELD
        # It stands among the direct ones of its rooms.
        self.fast = False
        # What waits for the answer to its CONNECT; None once that is given.
        self.hold: list[Event] | None = []
        # What waits for its handlers; None while none of them runs.
        self.jobs: Jobs | None = None
        # What waits for the client's acknowledgements, by number.
        self.callbacks: dict[int, Callable[..., Any]] | None = None
        # False when the client asked for events without offsets.
        self.recovery = True
        # What the client claims of a session before, unchecked.
        self.pid: str | None = None
        self.offset: str | None = None
        # The offset up to which missed events were replayed.
        self.replayed = ""
        # The application's.
        self.data: Any = None

    @property
    def room_names(self) -> tuple[Hashable, ...]:
        return tuple(self.rooms) if self.rooms else ()

    @property
    def connected(self) -> bool:
        return self.state == LIVE

    # The way out.

    def send(self, kind: int, number: int | None, data: Any) -> None:
        """One packet. Raises TypeError and Untellable as `packets.encode` does."""
        parts = encode(self.link.codec, kind, self.namespace.name, number, data)
        self.namespace.settle(self)
        self.link.send_parts(parts)

    def acknowledge(self, number: int, data: list[Any]) -> None:
        """The client's event of that number was handled. Raises as `send` does."""
        space, link = self.namespace, self.link
        if link.codec == DEFAULT:
            try:
                body = orjson.dumps(data)
            except TypeError:
                pass
            else:
                space.settle(self)
                link.send_text(b"43%s%d%s" % (prefix_of(space.name), number, body))
                return
        self.send(ACK, number, data)

    def ask(self, args: list[Any], callback: Callable[..., Any]) -> int:
        """One event that wants an acknowledgement; its number. `callback` gets the arguments."""
        number = next(self.namespace.ack_ids)
        if self.callbacks is None:
            self.callbacks = {}
        self.callbacks[number] = callback
        self.send(EVENT, number, args)
        return number

    def answered(self, number: int, data: list[Any]) -> Any:
        """Call what waits for this acknowledgement, once; unknown ones are ignored."""
        callback = self.callbacks.pop(number, None) if self.callbacks else None
        return callback(*data) if callback is not None else None

    def replay(self, events: Iterable[Event]) -> None:
        """Write missed events, oldest first, before the CONNECT reply; live events up to the
        last of them are then dropped from what was held back."""
        for event in events:
            self._push(event)
            if event.offset is not None:
                self.replayed = event.offset
        if self.hold:
            self.hold = [event for event in self.hold if not self._has(event)]

    def release(self) -> None:
        """Its CONNECT is answered: what was held follows, and nothing is held any more."""
        held, self.hold = self.hold, None
        self.state = LIVE
        for event in held or ():
            self._push(event)
        self.fast = self.recovery and self.link.direct

    def receive(self, event: Event) -> None:
        """The way of a delivery that is not a plain write; its namespace calls it in order."""
        hold = self.hold
        if hold is None:
            self._push(event)
        elif not self._has(event):
            self.encode(event)
            hold.append(event)
            if len(hold) > self.namespace.max_held:
                self.link.end(reasons.SLOW_CONSUMER)

    def encode(self, event: Event) -> None:
        """Make the encoding it will get while the arguments are still what they were."""
        event.parts(self.link.codec, not self.recovery)

    def _push(self, event: Event) -> None:
        self.link.push(event, not self.recovery)

    def _has(self, event: Event) -> bool:
        return event.offset is not None and event.offset <= self.replayed

    def sort(self) -> None:
        """Put the member among the direct or the other ones of each of its rooms."""
        fast = self.recovery and self.link.direct
        if self.state != LIVE or fast is self.fast:
            return
        self.fast = fast
        self.namespace.everyone.put(self)
        for room in (self.rooms or {}).values():
            room.put(self)


class Room:
    """Its members in two sets. `direct` maps a member to its socket: the loop over it is the whole
    cost of a delivery. `others` holds members that need a look each: not yet answered, behind on
    reading, without recovery, on polling or msgpack, under TLS."""

    __slots__ = ("direct", "name", "others")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.direct: dict[Member, int] = {}
        self.others: set[Member] = set()

    def __len__(self) -> int:
        return len(self.direct) + len(self.others)

    def __iter__(self) -> Iterator[Member]:
        yield from self.direct
        yield from self.others

    def __contains__(self, member: object) -> bool:
        return member in self.direct or member in self.others

    def put(self, member: Member) -> None:
        if member.fast:
            self.others.discard(member)
            self.direct[member] = member.link.fd
        else:
            self.direct.pop(member, None)
            self.others.add(member)

    def drop(self, member: Member) -> None:
        self.direct.pop(member, None)
        self.others.discard(member)
