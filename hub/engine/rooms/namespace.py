"""Who is where on this node."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable

from hub.engine.rooms.member import LIVE, Member, Room
from hub.engine.rooms.outlet import Outlet
from hub.engine.session.book import Book
from hub.engine.wire.event import Event

RoomHook = Callable[[str, Hashable], None]


class RoomHooks:
    """Called with namespace and room when a room gets its first local member and loses its
    last."""

    __slots__ = ("emptied", "opened")

    def __init__(self) -> None:
        self.opened: RoomHook | None = None
        self.emptied: RoomHook | None = None


class Namespace:
    """The members and rooms of one namespace on this node, and their outlet."""

    def __init__(self, name: str, book: Book, hooks: RoomHooks) -> None:
        self.name = name
        self.max_held = book.options.max_held
        # Members by sid, also those that are held or leaving.
        self.members: dict[str, Member] = {}
        # The live ones.
        self.everyone = Room(None)
        # Those whose CONNECT is not yet answered.
        self.held: set[Member] = set()
        # Rooms with members; a member's own room is in `members`.
        self.rooms: dict[Hashable, Room] = {}
        # The numbers of events that want an acknowledgement.
        self.ack_ids = itertools.count(1)
        # The highest offset that was delivered here.
        self.stamp = ""
        self.outlet = Outlet(self.everyone, self.held, book)
        self.settle = self.outlet.settle
        self._hooks = hooks

    # Membership.

    def expect(self, member: Member) -> None:
        """A new member: whatever reaches it, or everybody, waits until it is admitted."""
        self.members[member.sid] = member
        self.held.add(member)

    def admit(self, member: Member) -> None:
        """From now on events reach it: what was held, then what is live."""
        self.outlet.settle_all()
        self.held.discard(member)
        member.release()
        self.everyone.put(member)
        for room in (member.rooms or {}).values():
            room.put(member)

    def silence(self, member: Member) -> None:
        """Nothing is delivered to it any more; its rooms stay known until `remove`."""
        self.outlet.forgo(member)
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
            if self._hooks.opened is not None:
                self._hooks.opened(self.name, name)
        else:
            self.outlet.settle_room(room)
        rooms[name] = room
        if member.state <= LIVE:
            room.put(member)

    def leave(self, member: Member, name: Hashable) -> None:
        room = member.rooms.pop(name, None) if member.rooms else None
        if room is None:
            return
        self.outlet.settle(member)
        room.drop(member)
        if not room and self.rooms.get(name) is room:
            del self.rooms[name]
            if self._hooks.emptied is not None:
                self._hooks.emptied(self.name, name)

    # Selection.

    def select(
        self, rooms: Iterable[Hashable] | None, excepted: Iterable[Hashable] = ()
    ) -> dict[Member, None]:
        """The members in any of `rooms` (None: all) and in none of `excepted`; a sid is a
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


class Namespaces(dict[str, Namespace]):
    """The namespaces of this node by name, each made when it is first asked for by `[name]`."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self.hooks = RoomHooks()
        self._book = book

    def __missing__(self, name: str) -> Namespace:
        space = self[name] = Namespace(name, self._book, self.hooks)
        return space

    def member(self, sid: str, namespace: str) -> Member | None:
        space = self.get(namespace)
        return space.members.get(sid) if space is not None else None

    def deliver(
        self,
        event: Event,
        rooms: Iterable[Hashable] | None = None,
        excepted: Iterable[Hashable] = (),
    ) -> int:
        """To local members of any of `rooms` (None: the whole namespace) except those in
        `excepted`; how many. An offset that does not grow is left out: stamps only grow."""
        space = self.get(event.namespace)
        if space is None:
            return 0
        if event.offset is not None:
            if event.offset <= space.stamp:
                event.offset = None
            else:
                space.stamp = event.offset
        names = None if rooms is None else tuple(rooms)
        excepted = tuple(excepted)
        if excepted or (names is not None and len(names) != 1):
            return space.outlet.deliver(space.select(names, excepted), event)
        room = space.everyone if names is None else space.rooms.get(names[0])
        if room is None:
            assert names is not None
            return space.outlet.deliver(space.in_room(names[0]), event)
        space.outlet.broadcast(room, event)
        return len(room)
