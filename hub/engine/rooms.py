"""Who is where on this node, and how one event reaches many.

A room keeps its members in two sets. ``direct`` maps a member to its socket: the loop over it is
the whole cost of a delivery. ``others`` holds members that need a look each: not yet answered,
behind on reading, without recovery, on polling or msgpack, under TLS.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from os import write
from typing import TYPE_CHECKING, Any

from . import reasons
from .events import Event

if TYPE_CHECKING:
    from .cork import Cork
    from .link import Link
    from .options import Options
    from .telemetry import Counters

HELD, LIVE, LEAVING, GONE = range(4)

SLICE = 1_000
"""A larger room is written in slices of so many members, with a loop round between them, so that
an alert, a ping or a handshake waits for one slice (about 5 ms) and not for the whole room."""


Jobs = deque[tuple[int | None, list[Any], int]]
"""Events that wait for their handlers: ack id, name with arguments, weight."""


class Member:
    """One connection in one namespace; ``sid`` is its address and its own room.

    HELD until its CONNECT is answered: what reaches it meanwhile waits in ``hold``, so nothing is
    sent before its token was verified. ``recovery`` is false when the client asked for events
    without offsets. ``pid`` and ``offset`` are what the client claims, unchecked; ``data`` is the
    application's.
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
        "pid",
        "recovery",
        "replayed",
        "rooms",
        "sid",
        "state",
    )

    def __init__(self, sid: str, link: Link, namespace: Namespace) -> None:
        self.sid = sid
        self.link = link
        self.namespace = namespace
        self.rooms: dict[Hashable, Room] | None = None
        self.state = HELD
        self.fast = False
        self.hold: list[Event] | None = []
        self.jobs: Jobs | None = None
        self.callbacks: dict[int, Callable[..., Any]] | None = None
        self.recovery = True
        self.pid: str | None = None
        self.offset: str | None = None
        self.replayed = ""
        self.data: Any = None

    @property
    def room_names(self) -> tuple[Hashable, ...]:
        return tuple(self.rooms) if self.rooms else ()

    @property
    def connected(self) -> bool:
        return self.state == LIVE

    def replay(self, events: Iterable[Event]) -> None:
        """Write missed events, oldest first, before the CONNECT reply; live events up to the
        last of them are then dropped from what was held back."""
        for event in events:
            self.link.push(event, not self.recovery)
            if event.offset is not None:
                self.replayed = event.offset
        if self.hold:
            self.hold = [event for event in self.hold if not self._has(event)]

    def _has(self, event: Event) -> bool:
        return event.offset is not None and event.offset <= self.replayed

    def receive(self, event: Event) -> None:
        """The way of a delivery that is not a plain write."""
        hold = self.hold
        if hold is None:
            self.link.push(event, not self.recovery)
        elif not self._has(event):
            self.encode(event)
            hold.append(event)
            if len(hold) > self.namespace.max_held:
                self.link.end(reasons.SLOW_CONSUMER)

    def encode(self, event: Event) -> None:
        """Make the encoding it will get while the arguments are still what they were."""
        event.parts(self.link.codec, not self.recovery)

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


class Batch:
    """A joined broadcast on its way to a large room, and the members still to be written to."""

    __slots__ = ("frames", "rest", "wire")

    def __init__(self, wire: bytes, frames: int, rest: dict[Member, None]) -> None:
        self.wire = wire
        self.frames = frames
        self.rest = rest


class Namespace:
    """The members and rooms of one namespace on this node.

    Broadcasts of one loop round to one room are joined and written once a member. Before anything
    else is written to a member it gets what still waits for it, so each connection sees events in
    the order in which they were given.
    """

    def __init__(self, name: str, options: Options, counters: Counters, cork: Cork) -> None:
        self.name = name
        self.max_held = options.max_held
        self.join_at_most = options.backlog_low
        self.members: dict[str, Member] = {}
        self.everyone = Room(None)
        self.held: set[Member] = set()
        self.rooms: dict[Hashable, Room] = {}
        self.stamp = ""
        self.opened: Callable[[str, Hashable], None] | None = None
        self.emptied: Callable[[str, Hashable], None] | None = None
        self._counters = counters
        self._cork = cork
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._waiting_room: Room = self.everyone
        self._scheduled = False
        self._batches: deque[Batch] = deque()

    # membership

    def expect(self, member: Member) -> None:
        """A new member: whatever reaches it, or everybody, waits until it is admitted."""
        self.members[member.sid] = member
        self.held.add(member)

    def admit(self, member: Member) -> None:
        """From now on events reach it: what was held, then what is live."""
        self.flush()
        self.held.discard(member)
        held, member.hold = member.hold, None
        member.state = LIVE
        for event in held or ():
            member.link.push(event, not member.recovery)
        member.fast = member.recovery and member.link.direct
        self.everyone.put(member)
        for room in (member.rooms or {}).values():
            room.put(member)

    def silence(self, member: Member) -> None:
        """Nothing is delivered to it any more; its rooms stay known until ``remove``."""
        for batch in self._batches:
            batch.rest.pop(member, None)
        member.fast = False
        self.held.discard(member)
        self.everyone.drop(member)
        for room in (member.rooms or {}).values():
            room.drop(member)

    def remove(self, member: Member) -> None:
        for name in member.room_names:
            self.leave(member, name)
        if self.members.get(member.sid) is member:
            del self.members[member.sid]

    def enter(self, member: Member, name: Hashable) -> None:
        rooms = member.rooms
        if rooms is None:
            rooms = member.rooms = {}
        elif name in rooms:
            return
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name)
            if self.opened is not None:
                self.opened(self.name, name)
        elif room is self._waiting_room and self._waiting:
            self.flush()
        rooms[name] = room
        if member.state <= LIVE:
            room.put(member)

    def leave(self, member: Member, name: Hashable) -> None:
        room = member.rooms.pop(name, None) if member.rooms else None
        if room is None:
            return
        self.flush_before(member)
        room.drop(member)
        if not room and self.rooms.get(name) is room:
            del self.rooms[name]
            if self.emptied is not None:
                self.emptied(self.name, name)

    # delivery

    def broadcast(self, room: Room, event: Event) -> None:
        """To a whole room, joined with what else this loop round has for it."""
        if room is not self._waiting_room:
            if self._waiting:
                self.flush()
            self._waiting_room = room
        self._waiting_bytes += len(event.frame())  # first: it raises where it cannot be encoded
        for member in self._others(room):
            member.encode(event)
        self._waiting.append(event)
        if self._waiting_bytes > self.join_at_most:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_scheduled)

    def _others(self, room: Room) -> list[Member]:
        """A list of its own: a write may move its member there."""
        return [*room.others, *self.held] if room is self.everyone else list(room.others)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        if self._waiting and not self._batches:  # else what waits is joined until it is its turn
            self.flush()

    def flush(self) -> None:
        """Write what waits to be joined, or begin to where the room is large."""
        if not self._waiting:
            return
        events, self._waiting, self._waiting_bytes = self._waiting, [], 0
        room = self._waiting_room
        large = len(room.direct) > SLICE
        if room.direct:
            self._cork.release()
        self._catch_up(room.others if large else room)
        others = self._others(room)  # not before: both of these may fill a socket
        if room.direct:
            frames = [event.frame() for event in events]
            wire = frames[0] if len(frames) == 1 else b"".join(frames)
            if large:
                self._begin(Batch(wire, len(frames), dict.fromkeys(room.direct)))
            else:
                self._write(room.direct, wire, len(frames))
        for member in others:
            for event in events:
                member.receive(event)

    def flush_before(self, member: Member) -> None:
        """To be called before a frame of another kind goes to this member."""
        if self._waiting and member in self._waiting_room:
            self.flush()
        if self._batches:
            self._catch_up((member,))

    def deliver(self, members: Iterable[Member], event: Event) -> int:
        """To these members, now; how many there were."""
        self.flush()
        members = list(members)
        if any(member.fast for member in members):
            self._cork.release()
        self._catch_up(members)
        direct = {member: member.link.fd for member in members if member.fast}
        others = [member for member in members if not member.fast]
        if direct:
            self._write(direct, event.frame(), 1)
        for member in others:
            member.receive(event)
        return len(members)

    def _begin(self, batch: Batch) -> None:
        self._batches.append(batch)
        if len(self._batches) == 1:
            self._slice()

    def _slice(self) -> None:
        """Write the next members of the oldest batch; the rest in later loop rounds."""
        batch = self._batches[0]
        rest = batch.rest
        self._write_late(batch, [rest.popitem()[0] for _ in range(min(SLICE, len(rest)))])
        if not rest:
            self._batches.popleft()
        loop = asyncio.get_running_loop()
        if self._batches:
            loop.call_soon(self._slice)
        elif self._waiting and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush_scheduled)

    def _catch_up(self, members: Iterable[Member]) -> None:
        """Write to these members what batches still have for them, oldest first."""
        for batch in self._batches:
            late = [member for member in members if member in batch.rest]
            for member in late:
                del batch.rest[member]
            if late:
                self._write_late(batch, late)

    def _write_late(self, batch: Batch, members: list[Member]) -> None:
        """To members that were direct when the batch began: one may have fallen behind since."""
        self._cork.release()
        to = {member: member.link.fd if member.fast else -1 for member in members}
        self._write(to, batch.wire, batch.frames)

    def _write(self, to: dict[Member, int], wire: bytes, frames: int) -> None:
        """Straight to the sockets: through their transports it costs 0.5 to 1.2 us more a member,
        since that touches memory of each connection which is in no cache any more. Each write
        lets go of the interpreter lock, so threads that compute would hold this up.

        A socket for whose transport something waits must not be among them (-1 instead), so the
        cork is released before they are picked."""
        counters = self._counters
        counters.frames_out += len(to) * frames
        counters.bytes_out += len(to) * len(wire)
        size = len(wire)
        short: dict[int, int] = {}
        for fd in to.values():
            try:
                taken = write(fd, wire)
            except OSError:  # it is full, or broken: the transport finds out which
                taken = 0
            if taken != size:
                short[fd] = taken
        if short:
            for member, fd in list(to.items()):  # a copy: this may move members of this very room
                if fd in short:
                    member.link.write_rest(wire, short[fd])

    # selection

    def select(
        self, rooms: Iterable[Hashable] | None, excepted: Iterable[Hashable] = ()
    ) -> dict[Member, None]:
        """The members in any of ``rooms`` (None: all) and in none of ``excepted``; a sid is a
        room. Each member once."""
        chosen: dict[Member, None] = {}
        if rooms is None:
            chosen = dict.fromkeys((*self.everyone, *self.held))
        else:
            for name in rooms:
                chosen.update(dict.fromkeys(self.in_room(name)))
        for name in excepted:
            for member in self.in_room(name):
                chosen.pop(member, None)
        return chosen

    def in_room(self, name: Hashable) -> Iterable[Member]:
        room = self.rooms.get(name)
        if room is not None:
            return room
        member = self.members.get(name) if isinstance(name, str) else None
        return (member,) if member is not None and member.state <= LIVE else ()
