"""Coming back: the session a client names, taken over with its sid, and what was missed."""

import asyncio
import secrets
from typing import Final

import structlog

from hub.cluster.replay import Refusal
from hub.cluster.sessions import Session
from hub.engine import HELD, Event, Member
from hub.sockets.context import Node
from hub.sockets.guest import guest_of, left_of
from protocol.errors import unavailable
from protocol.redis_wire import Broadcast

LEAVE_S: Final = 3.0
"""How long the predecessor of a recovered socket may take to leave."""

log = structlog.get_logger(__name__)


async def open_session(node: Node, member: Member, names: tuple[str, ...]) -> Session:
    guest = guest_of(member)
    return await node.sessions.open(
        pid=secrets.token_urlsafe(24),
        user=guest.user_id,
        sid=member.sid,
        namespace=member.namespace.name,
        token=guest.token,
        rooms=names,
    )


async def claimed(node: Node, member: Member) -> Session | None:
    """The session this client comes back to, taken from whoever holds it, with its old sid."""
    guest = guest_of(member)
    assert member.pid is not None
    claimed = await node.sessions.claim(
        pid=member.pid,
        user=guest.user_id,
        namespace=member.namespace.name,
        token=guest.token,
    )
    if claimed is None:
        return None
    session, owner = claimed
    guest.session = session
    await _end_predecessor(node, owner)
    if member.state != HELD:
        raise unavailable()
    if not node.server.rename(member, session.sid):
        await node.sessions.close(session)
        guest.session = None
        return None
    return session


async def _end_predecessor(node: Node, owner: str) -> None:
    """A half-open connection of this node leaves first: it has the sid."""
    name, _, token = owner.partition(" ")
    old = node.guests.get(token) if name == node.id else None
    if old is None:
        return
    left = left_of(guest_of(old))
    node.server.cut(old)
    try:
        await asyncio.wait_for(left, LEAVE_S)
    except TimeoutError:
        raise unavailable("The connection before this one is still leaving.") from None


async def replayed(node: Node, member: Member, session: Session) -> bool:
    """Write what was missed before the CONNECT reply; False when the client must fetch anew."""
    names = [str(name) for name in member.room_names]
    replay = await node.recovery.replay(session, member.offset, names)
    if isinstance(replay, Refusal):
        log.info("a session was not recovered", reason=replay.value)
        guest = guest_of(member)
        await node.sessions.close(session)
        guest.session = await open_session(node, member, tuple(names))
        return False
    if replay.events:
        await node.sessions.note_replay(session, replay.since)
    member.replay(_event(broadcast) for broadcast in replay.events)
    member.replayed = max(member.replayed, replay.position)
    return True


def _event(broadcast: Broadcast) -> Event:
    args = [broadcast.event, *broadcast.args]
    return Event(args, namespace=broadcast.namespace, kind="room", offset=broadcast.offset or None)
