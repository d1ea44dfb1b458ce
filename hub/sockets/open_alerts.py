"""Open urgent questions for sockets that enter a place later, by connecting or by moving."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

import structlog

from hub.engine import Event, Member
from hub.plumbing.life.lasting import Lasting
from hub.sockets.context import Node
from hub.sockets.guest import guest_of
from hub.sockets.rooms import confirmed, has
from protocol.errors import HubError
from protocol.events import Emit
from protocol.names import room_kind

PLACES: Final = ("cell:", "region:")
"""Kinds of rooms that waves are told to."""

log = structlog.get_logger(__name__)

_untold = Lasting(
    log, "open questions of a place could not be told", "open questions of places are told again"
)


async def tell(node: Node, room: str, members: Sequence[Member]) -> None:
    """What is open in the place of this room, to members who have just entered it; while that is
    not to be found out, it is kept for later.
    """
    try:
        await _tell(node, room, members)
    except HubError as error:
        _keep(node, room, members, error)


async def tell_kept(node: Node, member: Member, entered: Collection[str]) -> None:
    """The same for all places that a socket has entered, or could not be told of when it did.

    Raises UNAVAILABLE: those that are left are kept.
    """
    guest = guest_of(member)
    places = (room for room in entered if room_kind(room) in PLACES)
    guest.untold = tuple(dict.fromkeys((*guest.untold, *places)))
    while guest.untold:
        await _tell(node, guest.untold[0], (member,))
        guest.untold = guest.untold[1:]


async def near(node: Node, member: Member) -> list[tuple[str, Emit]]:
    """What is open in the places a socket is in, with the room of each; what is not to be found out
    now is kept for later."""
    places = [name for name in map(str, member.room_names) if room_kind(name) in PLACES]
    try:
        found = await asyncio.gather(*(node.open_in(room) for room in places))
    except HubError as error:
        for room in places:
            _keep(node, room, (member,), error)
        return []
    if places:
        _untold.over()
    told = [(room, one) for room, events in zip(places, found, strict=True) for one in events]
    return [(room, one) for room, one in told if _concerns(member, one)]


async def _tell(node: Node, room: str, members: Sequence[Member]) -> None:
    """Raises UNAVAILABLE."""
    await confirmed(node, (room,))
    events = await node.open_in(room)
    _untold.over()
    for one in events:
        for member in members:
            if has(member, room) and _concerns(member, one):
                node.server.deliver(alert(one), (member.sid,))


def _keep(node: Node, room: str, members: Sequence[Member], error: HubError) -> None:
    """`whereabouts` looks after whoever is stale, as soon as Postgres is back."""
    _untold.seen(code=error.code)
    for member in members:
        guest = guest_of(member)
        guest.untold = (*guest.untold, room)
        node.doubt(guest.user_id)


def _concerns(member: Member, one: Emit) -> bool:
    return not any(has(member, room) for room in one.except_rooms)


def alert(one: Emit) -> Event:
    """For one socket: the id of the broadcast it missed, and no offset."""
    return Event([one.event, one.data], kind="alert")
