"""How one event reaches many members of a namespace.

Broadcasts of one loop round to one room are joined and written once a member; large rooms are
written in slices. Before anything else is written to a member it gets what still waits for it here,
so each connection sees events in the order in which they were given.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from os import write

from hub.engine.rooms.member import Member, Room
from hub.engine.session.book import Book
from hub.engine.wire.event import Event

SLICE = 1_000
"""A larger room is written in slices of so many members, with a loop round between them, so that
an alert, a ping or a handshake waits for one slice (about 5 ms) and not for the whole room."""


class Batch:
    """A joined broadcast on its way to a large room, and the members still to be written to."""

    __slots__ = ("frames", "rest", "wire")

    def __init__(self, wire: bytes, frames: int, rest: dict[Member, None]) -> None:
        self.wire = wire
        self.frames = frames
        self.rest = rest


class Outlet:
    """The events of one namespace on their way out. `everyone` is its room of all live members,
    `held` has those that are not yet answered: what is for everybody is for them as well."""

    def __init__(self, everyone: Room, held: set[Member], book: Book) -> None:
        self._everyone = everyone
        self._held = held
        self._join_at_most = book.options.backlog_low
        self._counters = book.counters
        self._cork = book.cork
        # Events that wait to be joined, all for one room, and their bytes.
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._waiting_room = everyone
        # A flush is due in this loop round.
        self._scheduled = False
        # Large rooms that are being written, oldest first.
        self._batches: deque[Batch] = deque()

    # What is given to it.

    def broadcast(self, room: Room, event: Event) -> None:
        """Tell a whole room, joined with what else this loop round has for it."""
        if room is not self._waiting_room:
            if self._waiting:
                self._flush()
            self._waiting_room = room
        self._waiting_bytes += len(event.frame())  # first: it raises where it cannot be encoded
        for member in self._others(room):
            member.encode(event)
        self._waiting.append(event)
        if self._waiting_bytes > self._join_at_most:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_scheduled)

    def deliver(self, members: Iterable[Member], event: Event) -> int:
        """Tell these members, now; how many there were."""
        self._flush()
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

    # What keeps the order.

    def settle(self, member: Member) -> None:
        """Write what still waits for this member."""
        if self._waiting and member in self._waiting_room:
            self._flush()
        if self._batches:
            self._catch_up((member,))

    def settle_room(self, room: Room) -> None:
        """Write what still waits for a room that is about to have another member."""
        if room is self._waiting_room:
            self._flush()

    def settle_all(self) -> None:
        """Write what still waits to be joined: there will be another member."""
        self._flush()

    def forgo(self, member: Member) -> None:
        """This member gets nothing more of what still waits."""
        for batch in self._batches:
            batch.rest.pop(member, None)

    def _others(self, room: Room) -> list[Member]:
        """A list of its own: a write may move its member there."""
        return [*room.others, *self._held] if room is self._everyone else list(room.others)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        if self._waiting and not self._batches:  # else what waits is joined until it is its turn
            self._flush()

    def _flush(self) -> None:
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

    # Large rooms.

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
        """Write to members that were direct when the batch began: one may have fallen behind."""
        self._cork.release()
        to = {member: member.link.fd if member.fast else -1 for member in members}
        self._write(to, batch.wire, batch.frames)

    # The write.

    def _write(self, to: dict[Member, int], wire: bytes, frames: int) -> None:
        """Write straight to the sockets: through their transports it costs 0.5 to 1.2 us more a
        member, since that touches memory of each connection which is in no cache any more. Each
        write lets go of the interpreter lock, so threads that compute would hold this up.

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
