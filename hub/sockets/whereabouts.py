"""Finds out which rooms a socket must be in: when it comes in, and after an outage of Redis or
Postgres has made stale what was known.
"""

import asyncio
from itertools import islice
from typing import Final

import structlog

from hub.domain.arrival import Arrival
from hub.engine import LIVE, Member
from hub.plumbing.life.lasting import Lasting
from hub.sockets import open_alerts, rooms
from hub.sockets.context import Node
from hub.sockets.guest import guest_of
from protocol.errors import HubError
from protocol.names import user_room

EVERY_S: Final = 1.0
AT_ONCE: Final = 200
"""People mended in one round: others want Postgres, too."""

log = structlog.get_logger(__name__)


async def settle(node: Node, member: Member) -> Arrival:
    """Put a socket into the automatic rooms of its person, and into those of a session come back to
    that are still open to them. Raises UNAVAILABLE while Postgres is away.
    """
    guest = guest_of(member)
    namespace = node.namespaces[member.namespace.name]
    while True:
        guest.moved = False
        welcome = await namespace.welcome(node, guest.user_id)
        kept = await _still_open(node, guest.user_id, guest.grounds.claimed)
        if guest.moved:
            continue
        await rooms.fit(node, member, guest.grounds.found(welcome.rooms, kept))
        if not guest.moved:
            return welcome


async def _still_open(node: Node, user_id: str, rooms: tuple[str, ...]) -> tuple[str, ...]:
    return await node.still_open((user_id, rooms)) if rooms else ()


async def mend_stale(node: Node) -> None:
    """For ever. Orders to move sockets are heard once or never, so whoever was here while the bus
    was away has their rooms found out anew.
    """
    reconnects = node.bus.reconnects
    behind = Lasting(log, "rooms stay as they were known", "rooms are found out again")
    while True:
        await asyncio.sleep(EVERY_S)
        if node.bus.reconnects != reconnects and node.bus.ready:
            reconnects = node.bus.reconnects
            node.spawn(node.revocations.ask_again())
            for one in node.guests.values():
                node.doubt(guest_of(one).user_id)
        await _mend(node, behind)


async def _mend(node: Node, behind: Lasting) -> None:
    """Find out the rooms of stale people anew, until Postgres says it is away."""
    for user_id, doubt in tuple(islice(node.stale.items(), AT_ONCE)):
        try:
            mended = await _mend_person(node, user_id)
        except HubError as error:
            behind.seen(code=error.code)
            return
        behind.over()
        if mended and node.stale.get(user_id) is doubt:
            del node.stale[user_id]


async def _mend_person(node: Node, user_id: str) -> bool:
    """False while a socket of theirs is still coming in: it may have been what is stale. Raises
    UNAVAILABLE."""
    home, mended = (user_room(user_id),), True
    for namespace in node.namespaces:
        for member in node.server.select(home, (), namespace):
            if member.connected:
                await look_around(node, member)
            mended &= member.state >= LIVE
    return mended


async def look_around(node: Node, member: Member) -> None:
    """Out of the rooms that are not open to its person any more; automatic rooms anew, and what is
    open in those it was not in. Raises UNAVAILABLE while Postgres is away.
    """
    guest = guest_of(member)
    asked = guest.grounds.asked
    kept = await _still_open(node, guest.user_id, asked)
    closed = [room for room in asked if room not in kept]
    if closed:
        await rooms.fit(node, member, guest.grounds.without(closed))
    known = frozenset(map(str, member.room_names))
    await settle(node, member)
    await open_alerts.tell_kept(node, member, frozenset(map(str, member.room_names)) - known)
