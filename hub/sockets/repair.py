"""Mends what an outage of Redis or Postgres made stale: the rooms people are in."""

import asyncio
from itertools import islice
from typing import Final

import structlog

from hub.domain import members
from hub.engine import Member
from hub.plumbing.life.lasting import Lasting
from hub.sockets import rooms
from hub.sockets.node import Guest, Node, guest_of
from protocol.errors import HubError
from protocol.names import user_room

EVERY_S: Final = 1.0
AT_ONCE: Final = 200
"""People mended in one round: others want Postgres, too."""

log = structlog.get_logger(__name__)


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
            node.stale |= dict.fromkeys(guest_of(one).user_id for one in node.guests.values())
        await _mend(node, behind)


async def _mend(node: Node, behind: Lasting) -> None:
    """Find out the rooms of stale people anew, until Postgres says it is away."""
    for user_id in tuple(islice(node.stale, AT_ONCE)):
        try:
            await mend(node, user_id)
        except HubError as error:
            behind.seen(code=error.code)
            return
        behind.over()
        del node.stale[user_id]


async def mend(node: Node, user_id: str) -> None:
    """Raises UNAVAILABLE."""
    here = [one for one in node.server.select((user_room(user_id),)) if one.connected]
    if not here:
        return
    welcome = await members.welcome(node.domain, user_id)
    for member in here:
        await _fit(node, member, welcome.rooms)


async def _fit(node: Node, member: Member, automatic: tuple[str, ...]) -> None:
    guest: Guest = guest_of(member)
    gone = [name for name in guest.automatic if name not in (*automatic, *guest.asked)]
    guest.automatic = automatic
    await rooms.leave(node, member, gone)
    await rooms.enter(node, member, automatic)
