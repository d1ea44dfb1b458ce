"""Who is in which room on this node: entered after the session knows, answered after Redis does."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError

from hub.domain import rooms as domain_rooms
from hub.domain import urgent
from hub.engine import Event, Member
from hub.engine.rooms import LEAVING, LIVE
from hub.plumbing.life.lasting import Lasting
from hub.sockets import presence
from hub.sockets.node import NAMESPACE, Guest, Node, Order, guest_of
from protocol.errors import Code, HubError, unavailable
from protocol.events import Emit, Move
from protocol.names import room_kind, user_room

CONFIRM_S: Final = 5.0
AWAY_S: Final = 0.5
"""How long a join waits for Redis: for an answer, and for a Redis that is known to be away."""

CELL: Final = "cell:"

log = structlog.get_logger(__name__)

_unnoted = Lasting(log, "sessions do not know their rooms", "sessions know their rooms again")
untold = Lasting(
    log, "open questions of a cell could not be told", "open questions of cells are told again"
)
"""To sockets that enter a cell, and to those that connect in one."""


def has(member: Member, room: str) -> bool:
    return member.rooms is not None and room in member.rooms


async def confirmed(node: Node, rooms: Iterable[str], namespace: str = NAMESPACE) -> None:
    """Returns when whatever is published to these rooms from now on is heard here.

    Raises UNAVAILABLE when Redis does not confirm in time.
    """
    try:
        async with asyncio.timeout(CONFIRM_S if node.bus.ready else AWAY_S):
            await node.bus.subscribed(namespace, rooms)
    except TimeoutError:
        raise unavailable("Rooms cannot be joined now.") from None


async def enter(
    node: Node, member: Member, names: Iterable[str], *, surely: bool = False
) -> tuple[str, ...]:
    """Put a socket into rooms; which of them are new to it.

    The session learns them first: what is published in between is then replayed, not lost. Raises
    UNAVAILABLE, `surely`, when it cannot be told: a client that asked would come back without the
    room and be told that it was recovered.
    """
    fresh = tuple(dict.fromkeys(name for name in names if not has(member, name)))
    if fresh and not await _note(node, guest_of(member), join=fresh) and surely:
        raise unavailable("Rooms cannot be joined now.")
    if member.state >= LEAVING:
        return ()
    node.server.enter(member, *fresh)
    await presence.enter(node, member, fresh)
    return fresh


async def leave(node: Node, member: Member, names: Iterable[str]) -> None:
    """Also out of the rooms that only the session still knows."""
    session = guest_of(member).session
    known = session.rooms if session is not None else {}
    gone = tuple(name for name in names if has(member, name) or name in known)
    for name in gone:
        member.namespace.leave(member, name)
    if gone:
        if not await _note(node, guest_of(member), leave=gone):
            guest_of(member).behind = True
        await presence.leave(node, guest_of(member), gone)


async def ask(node: Node, member: Member, room: str) -> None:
    """A client asks to be in a room. Raises INVALID_PAYLOAD, ROOM_LIMIT, UNAVAILABLE (then the
    socket is as it was).
    """
    domain_rooms.check_room(room)
    guest, namespace = guest_of(member), member.namespace.name
    if room in guest.asked:
        return await confirmed(node, (room,), namespace)
    if len(guest.asked) >= node.figures.max_rooms:
        raise HubError(Code.ROOM_LIMIT)
    fresh = await enter(node, member, (room,), surely=True)
    try:
        await confirmed(node, (room,), namespace)
    except HubError:
        await leave(node, member, fresh)
        raise
    guest.asked = (*guest.asked, room)
    return None


async def forgo(node: Node, member: Member, room: str) -> None:
    """A client asks to be out of a room, whatever it is."""
    guest = guest_of(member)
    guest.asked = tuple(name for name in guest.asked if name != room)
    await leave(node, member, (room,))


async def _note(
    node: Node, guest: Guest, *, join: Sequence[str] = (), leave: Sequence[str] = ()
) -> bool:
    """False when Redis did not take it."""
    if guest.session is None:
        return True
    try:
        await node.sessions.move(guest.session, join=join, leave=leave)
        _unnoted.over()
    except RedisError as error:
        _unnoted.seen(kind=type(error).__name__)
        return False
    return True


# --- orders: rooms that the server changes -----------------------------------------------------


async def move(node: Node, one: Move) -> None:
    """Carry out a move here before the cluster brings it; repeating it does nothing.

    Raises UNAVAILABLE when Redis does not confirm the rooms.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    node.orders.put_nowait(Order((one.room,), (), one.join, one.leave, done, keep_asked=True))
    await done
    await confirmed(node, one.join)


async def obey_orders(node: Node) -> None:
    """Carry out orders one by one, in the order in which they were heard; for ever."""
    while True:
        order = await node.orders.get()
        try:
            await _obey(node, order)
        except Exception:  # one bad order must not end the others
            log.exception("an order could not be carried out")
        node.orders.task_done()
        if order.done is not None and not order.done.done():
            order.done.set_result(None)


async def _obey(node: Node, order: Order) -> None:
    members = node.server.select(order.rooms or None, order.excepted, order.namespace)
    if order.leave and not order.keep_asked:
        node.spawn(_forget(node, order))
    moved = await asyncio.gather(*(_obey_one(node, member, order) for member in members))
    cells: dict[str, list[Member]] = {}
    for member, fresh in zip(members, moved, strict=True):
        for name in fresh:
            if room_kind(name) == CELL and member.state == LIVE:
                cells.setdefault(name, []).append(member)
    for name, entered in cells.items():
        node.spawn(_tell_open(node, name, entered))


async def _obey_one(node: Node, member: Member, order: Order) -> tuple[str, ...]:
    guest = guest_of(member)
    guest.moved = True
    guest.automatic = tuple(
        dict.fromkeys((*(r for r in guest.automatic if r not in order.leave), *order.join))
    )
    if not order.keep_asked:
        guest.asked = tuple(room for room in guest.asked if room not in order.leave)
    # what the client asked for itself outlasts our own reason to put it there
    await leave(node, member, (room for room in order.leave if room not in guest.asked))
    return await enter(node, member, order.join)


async def _forget(node: Node, order: Order) -> None:
    """Somebody's sockets leave rooms by the order of another server: those that are away just now
    do not come back to them either."""
    home = user_room("")
    for user in (name.removeprefix(home) for name in order.rooms if name.startswith(home)):
        for room in order.leave:
            try:
                await node.sessions.remove(user, order.namespace, room, only_parked=True)
            except RedisError as error:
                _unnoted.seen(kind=type(error).__name__)


# --- open urgent questions of a cell ----------------------------------------------------------


async def _tell_open(node: Node, room: str, members: Sequence[Member]) -> None:
    try:
        await confirmed(node, (room,))
        events = await open_in(node, room)
    except HubError as error:
        untold.seen(code=error.code)
        return
    untold.over()
    for one in events:
        for member in members:
            if has(member, room) and concerns(member, one):
                node.server.deliver(alert(one), (member.sid,))


async def open_in(node: Node, room: str) -> list[Emit]:
    """Open urgent questions whose waves cover the cell of this room. Raises UNAVAILABLE."""
    return await urgent.open_near(node.domain, int(room.removeprefix(CELL), 16))


def concerns(member: Member, one: Emit) -> bool:
    return not any(has(member, room) for room in one.except_rooms)


def alert(one: Emit) -> Event:
    """For one socket: the id of the broadcast it missed, and no offset."""
    return Event([one.event, one.data], kind="alert")
