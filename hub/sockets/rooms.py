"""Who is in which room on this node: entered after the session knows, answered after Redis does."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError

from hub.domain.rooms import check_room
from hub.engine import LEAVING, Member
from hub.plumbing.life.lasting import Lasting
from hub.sockets import presence
from hub.sockets.context import Node
from hub.sockets.grounds import Grounds
from hub.sockets.guest import Guest, guest_of
from protocol.errors import Code, HubError, unavailable
from protocol.names import MAIN

CONFIRM_S: Final = 5.0
AWAY_S: Final = 0.5
"""How long a join waits for Redis: for an answer, and for a Redis that is known to be away."""

log = structlog.get_logger(__name__)

unnoted: Final = Lasting(log, "sessions do not know their rooms", "sessions know their rooms again")


def has(member: Member, room: str) -> bool:
    return member.rooms is not None and room in member.rooms


async def confirmed(node: Node, rooms: Iterable[str], namespace: str = MAIN) -> None:
    """Returns when whatever is published to these rooms from now on is heard here.

    Raises UNAVAILABLE when Redis does not confirm in time.
    """
    try:
        async with asyncio.timeout(CONFIRM_S if node.bus.ready else AWAY_S):
            await node.bus.subscribed(namespace, rooms)
    except TimeoutError:
        raise unavailable("Rooms cannot be joined now.") from None


async def fit(
    node: Node, member: Member, grounds: Grounds, *, surely: bool = False
) -> tuple[str, ...]:
    """Give a socket other grounds and make its rooms what they say; which of these are new to it.

    The session learns new rooms first: what is published in between is then replayed, not lost.
    Raises UNAVAILABLE, `surely`, when it cannot be told: a client that asked would come back
    without the room and be told that it was recovered.
    """
    guest = guest_of(member)
    guest.grounds = grounds
    due = grounds.rooms
    fresh = [name for name in due if not has(member, name)]
    gone = _known(member, guest).difference(due, grounds.claimed)
    for name in gone:
        member.namespace.leave(member, name)
    if fresh or gone:
        noted = await _note(node, guest, join=fresh, leave=tuple(gone))
        if gone and not noted:
            guest.behind = True
        await presence.leave(node, member.namespace.name, guest, tuple(gone))
        if fresh and not noted and surely:
            raise unavailable("Rooms cannot be joined now.")
    if member.state >= LEAVING:
        return ()
    fresh = [name for name in fresh if name in guest.grounds.rooms]
    node.server.enter(member, *fresh)
    await presence.enter(node, member, fresh)
    return tuple(fresh)


def _known(member: Member, guest: Guest) -> set[str]:
    """The rooms a socket is in, and those that only its session still knows."""
    session = guest.session
    return {*map(str, member.room_names), *(session.rooms if session is not None else ())}


async def ask(node: Node, member: Member, room: str) -> None:
    """A client asks to be in a room. Raises INVALID_PAYLOAD, ROOM_LIMIT, UNAVAILABLE (then the
    socket is as it was).
    """
    check_room(room)
    guest, namespace = guest_of(member), member.namespace.name
    if room in guest.grounds.asked:
        return await confirmed(node, (room,), namespace)
    if len(guest.grounds.asked) >= node.figures.max_rooms:
        raise HubError(Code.ROOM_LIMIT)
    try:
        await fit(node, member, guest.grounds.asking(room), surely=True)
        await confirmed(node, (room,), namespace)
    except HubError:
        await fit(node, member, guest.grounds.not_asking(room))
        raise
    return None


async def forgo(node: Node, member: Member, room: str) -> None:
    """A client asks to be out of a room, whatever it is."""
    await fit(node, member, guest_of(member).grounds.without((room,)))


async def _note(node: Node, guest: Guest, *, join: Sequence[str], leave: Sequence[str]) -> bool:
    """False when Redis did not take it."""
    if guest.session is None:
        return True
    try:
        await node.sessions.move(guest.session, join=join, leave=leave)
        unnoted.over()
    except RedisError as error:
        unnoted.seen(kind=type(error).__name__)
        return False
    return True
