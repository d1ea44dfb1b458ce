"""Open urgent questions for sockets that enter a place later, by connecting or by moving."""

from collections.abc import Sequence
from typing import Final

import structlog

from hub.domain.questions import nearby
from hub.engine import Event, Member
from hub.plumbing.life.lasting import Lasting
from hub.sockets.context import Node
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
    """What is open in the place of this room, to members who have just entered it."""
    try:
        await confirmed(node, (room,))
    except HubError as error:
        _untold.seen(code=error.code)
        return
    for one in await _open_in(node, room):
        for member in members:
            if has(member, room) and _concerns(member, one):
                node.server.deliver(alert(one), (member.sid,))


async def near(node: Node, member: Member) -> list[tuple[str, Emit]]:
    """What is open in the places a socket is in, with the room of each."""
    rooms = [name for name in map(str, member.room_names) if room_kind(name) in PLACES]
    found = [(room, one) for room in rooms for one in await _open_in(node, room)]
    return [(room, one) for room, one in found if _concerns(member, one)]


async def _open_in(node: Node, room: str) -> list[Emit]:
    """Open urgent questions that this room was told of; none while Postgres is away, which is
    logged."""
    try:
        events = await nearby.open_in(node.domain, room)
    except HubError as error:
        _untold.seen(code=error.code)
        return []
    _untold.over()
    return events


def _concerns(member: Member, one: Emit) -> bool:
    return not any(has(member, room) for room in one.except_rooms)


def alert(one: Emit) -> Event:
    """For one socket: the id of the broadcast it missed, and no offset."""
    return Event([one.event, one.data], kind="alert")
