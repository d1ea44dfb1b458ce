"""Order of what is delivered, over rooms and ways of writing."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.engine import Event, Options, Server
from hub.engine.rooms import outlet
from hub.engine.rooms.member import Member, Party
from hub.engine.rooms.namespace import Namespace, RoomHooks
from hub.engine.session.book import Book
from hub.engine.session.link import Link
from tests.conftest import examples

from .conftest import Serve
from .wire import events

# order over rooms, joined writes, memberships: every schedule


BOOK = Book(Options())


class Ear(Link):
    """A link over a socket that keeps each write apart; while it is not direct, what it is given
    waits before its socket."""

    __slots__ = ("_far", "_near", "_waiting")

    def __init__(self) -> None:
        super().__init__(BOOK)
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._waiting: list[bytes] = []
        self.fd = self._near.fileno()
        self.direct = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._near.close()
        self._far.close()

    def push(self, event: Event, plain: bool) -> None:
        self.write_rest(event.frame_as(0, plain), 0)

    def write_rest(self, wire: bytes, taken: int) -> None:
        self._waiting.append(wire[taken:])
        self.set_direct(self.direct)

    def set_direct(self, direct: bool) -> None:
        self.direct = direct
        if direct:
            for wire in self._waiting:
                self._near.send(wire)
            self._waiting.clear()

    def writes(self) -> list[bytes]:
        """What was written since the last look."""
        heard = []
        with suppress(BlockingIOError):
            while True:
                heard.append(self._far.recv(65_536))
        return heard


MEMBERS, ROOMS = range(3), "ab"
steps = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.lists(st.sampled_from(ROOMS), max_size=2, unique=True)),
        st.tuples(st.just("to"), st.sampled_from(MEMBERS)),
        st.tuples(st.just("enter"), st.sampled_from(MEMBERS), st.sampled_from(ROOMS)),
        st.tuples(st.just("leave"), st.sampled_from(MEMBERS), st.sampled_from(ROOMS)),
        st.tuples(st.just("slow"), st.sampled_from(MEMBERS), st.booleans()),
        st.tuples(st.just("round")),
    ),
    max_size=40,
)


@settings(max_examples=examples(300))
@given(steps, st.sampled_from([1, 2, 1000]))
def test_property_each_member_hears_what_was_emitted_while_it_was_there_in_order(
    plan: Any, size: int
) -> None:
    """Also where rooms are large, that is, written in slices."""
    with patch.object(outlet, "SLICE", size):
        _run(plan)


def _run(plan: Any) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_play(plan))
    finally:
        loop.close()


async def _play(plan: list[tuple[Any, ...]]) -> None:
    space = Namespace("/", BOOK, RoomHooks())
    with Ear() as first, Ear() as second, Ear() as third:
        await _play_to([first, second, third], space, plan)


async def _play_to(ears: list[Ear], space: Namespace, plan: list[tuple[Any, ...]]) -> None:
    members = []
    for index, ear in enumerate(ears):
        member = Member(f"m{index}", Party(ear), space)
        space.members[member.sid] = member
        space.admit(member)
        members.append(member)
    inside: dict[int, set[str]] = defaultdict(set)
    wanted: dict[int, list[int]] = defaultdict(list)
    for number, (kind, *args) in enumerate(plan):
        if kind == "emit":
            names = args[0]
            event = Event(["e", number])
            if len(names) == 1 and names[0] in space.rooms:
                space.outlet.broadcast(space.rooms[names[0]], event)
            elif names:
                space.outlet.deliver(space.select(names), event)
            else:
                space.outlet.broadcast(space.everyone, event)
            for index in MEMBERS:
                if not names or inside[index] & set(names):
                    wanted[index].append(number)
        elif kind == "to":
            space.outlet.deliver([members[args[0]]], Event(["e", number]))
            wanted[args[0]].append(number)
        elif kind == "enter":
            space.enter(members[args[0]], args[1])
            inside[args[0]].add(args[1])
        elif kind == "leave":
            space.leave(members[args[0]], args[1])
            inside[args[0]].discard(args[1])
        elif kind == "slow":
            ears[args[0]].set_direct(not args[1])
            members[args[0]].sort()
        else:
            await asyncio.sleep(0)
    for _ in range(len(plan) * len(MEMBERS) + 2):
        await asyncio.sleep(0)
    for index, ear in enumerate(ears):
        ear.set_direct(True)
        assert [args[1] for args in events(b"".join(ear.writes()))] == wanted[index]


async def test_broadcasts_of_one_round_are_one_write() -> None:
    space = Namespace("/", BOOK, RoomHooks())
    with Ear() as ear:
        space.admit(Member("m", Party(ear), space))
        for number in range(5):
            space.outlet.broadcast(space.everyone, Event(["e", number]))
        await asyncio.sleep(0)
        assert len(ear.writes()) == 1


async def test_an_event_is_what_it_was_when_it_was_emitted(serve: Serve, sio: Server) -> None:
    """Broadcasts are written in the next loop round; what the caller does to its data meanwhile
    is in no encoding. What cannot be encoded is the caller's error and reaches nobody."""
    site = await serve()
    async with site.wire() as new, site.wire() as old:
        await new.connect()
        await old.connect(auth={"recovery": False})
        data = {"n": 1}
        sio.deliver(Event(["x", data], offset="0001"))
        data["n"] = 2
        with pytest.raises(TypeError):
            sio.deliver(Event(["x", object()]))
        assert (await new.text(), await old.text()) == ('42["x",{"n":1},"0001"]', '42["x",{"n":1}]')
        await sio.emit("y", float("nan"))
        assert (await new.text(), await old.text()) == ('42["y",null]', '42["y",null]')


def test_select(sio: Server) -> None:
    assert sio.select(None, namespace="/nobody") == []
    members: Iterable[Member] = sio.members("/nobody")
    assert list(members) == []
