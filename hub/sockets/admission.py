"""How a socket comes in and goes: the token first, then its rooms, then its word of welcome.

The member is held by the engine until `admit` returns: what reaches its rooms meanwhile waits, and
nothing at all is sent before the token was verified.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog
from redis.exceptions import RedisError
from socketio.exceptions import ConnectionRefusedError as Refused

from hub.domain.arrival import Arrival
from hub.domain.people import sessions
from hub.engine import HELD, Member, Unavailable, reasons
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.telemetry.metrics import ERRORS, SOCKET_EVENTS
from hub.plumbing.telemetry.trace import traced
from hub.sockets import admin_page, open_alerts, presence, recovery, rooms, token_life, whereabouts
from hub.sockets.context import Entrance, Node
from hub.sockets.gate import coded
from hub.sockets.grounds import Grounds
from hub.sockets.guest import Guest, guest_of, left_of
from protocol.errors import ERRORS as SPECS
from protocol.errors import Code, HubError
from protocol.names import user_room

CONNECT: Final = "connect"
LEFT: Final = "left"
"""Name and outcome of an admission in metrics and lines."""

log = structlog.get_logger(__name__)

_unheard = Lasting(log, "sockets leave without Redis", "Redis hears who leaves again")


def hook(node: Node) -> Callable[[Member, Any], Awaitable[dict[str, Any]]]:
    """The engine's admit hook: further keys of the CONNECT reply, or how it is refused."""
    return partial(_answered, node)


class _Left(Exception):
    """The member left while it was being let in: the rest is nobody's any more."""


def _still_here(member: Member) -> None:
    """Between the steps of an admission: work for a member that left is anybody's to order."""
    if member.state != HELD:
        raise _Left


async def _answered(node: Node, member: Member, auth: Any) -> dict[str, Any]:
    start = time.perf_counter()
    outcome = "ok"
    with traced(name=CONNECT):
        try:
            async with node.admitting:
                _still_here(member)
                return await _admit(node, member, auth or {})
        except _Left:
            outcome = LEFT
            await farewell(node, member, reasons.TRANSPORT_CLOSE)
            return {}
        except Exception as error:
            fault = coded(error)
            outcome = fault.code.value
            ERRORS.labels(door="socket", code=outcome).inc()
            await farewell(node, member, reasons.TRANSPORT_CLOSE)
            raise _refusal(node, member, fault) from error
        finally:
            seconds = time.perf_counter() - start
            namespace = member.namespace.name
            SOCKET_EVENTS.count((namespace, CONNECT, outcome), seconds)
            user = member.data.user_id if isinstance(member.data, Guest) else None
            node.access.event(
                namespace=namespace,
                event=CONNECT,
                outcome=outcome,
                seconds=seconds,
                sid=member.sid,
                userId=user,
            )


def _refusal(node: Node, member: Member, fault: HubError) -> Exception:
    """CONNECT_ERROR where waiting does not help, else the transport is closed and comes back: so
    it does at an address of which too many logins fail."""
    final = SPECS[fault.code].connect == "CONNECT_ERROR"
    if final and node.logins.failed(member.link.address):
        refused: Exception = Refused(
            fault.message, {"code": fault.code.value, "message": fault.message}
        )
        return refused
    return Unavailable(fault.code.value)


async def _admit(node: Node, member: Member, auth: dict[str, Any]) -> dict[str, Any]:
    if member.namespace.name == admin_page.NAMESPACE:
        token = await admin_page.verified(node, auth)
        _still_here(member)
        admin_page.let_in(node, member, token)
        return {}
    token = await sessions.verify(node.domain, auth.get("token"))
    _still_here(member)
    node.logins.came(token.user_id)
    guest = member.data = Guest(token)
    node.guests[guest.token] = member
    session = await recovery.claimed(node, member) if member.pid and member.recovery else None
    before = frozenset(session.rooms) if session else frozenset()
    _still_here(member)
    guest.grounds = Grounds(claimed=tuple(before))
    await _come_home(node, member)
    _still_here(member)
    if node.revocations.cover(token):  # heard between the check and the first room
        raise HubError(Code.TOKEN_REVOKED)
    welcome = await _settle(node, member)
    await rooms.confirmed(node, map(str, member.room_names), member.namespace.name)
    _still_here(member)
    near = await open_alerts.near(node, member)
    _still_here(member)
    await _note_presence(node, member)
    _still_here(member)
    # last: after the missed events are written nothing may fail any more
    recovered = session is not None and await recovery.replayed(node, member, session)
    _still_here(member)
    known = before if recovered else frozenset()
    untold = [one for room, one in near if room not in known]
    row = node.namespaces[member.namespace.name]
    row.greet(node, member, Entrance(welcome, recovered, untold))
    return {"pid": guest.session.pid} if guest.session else {}


async def _come_home(node: Node, member: Member) -> None:
    """From here on the person's moves are heard: the rooms found out next cannot be stale."""
    guest = guest_of(member)
    home = user_room(guest.user_id)
    if guest.session is None and member.recovery:
        guest.session = await recovery.open_session(node, member, (home,))
    namespace = member.namespace.name
    node.bus.join(namespace, member.sid)
    await rooms.fit(node, member, guest.grounds.moved((home,), ()))
    await rooms.confirmed(node, (home, member.sid), namespace)


async def _settle(node: Node, member: Member) -> Arrival | None:
    """None while Postgres is away: then the socket is where it was, and is looked after later."""
    try:
        return await whereabouts.settle(node, member)
    except HubError as error:
        if error.code != Code.UNAVAILABLE:
            raise
    guest = guest_of(member)
    node.doubt(guest.user_id)
    await rooms.fit(node, member, guest.grounds.trusted())
    return None


async def _note_presence(node: Node, member: Member) -> None:
    """The lease of this socket; whoever is over the limit loses the oldest one.

    It is told DISCONNECT: a client that came back by itself would push out the next one, for ever.
    """
    guest = guest_of(member)
    token_life.watch(node, member)
    namespace = member.namespace.name
    for sid in await node.presence.connect(guest.user_id, member.sid, namespace):
        old = node.server.member(sid, namespace)
        if old is not None:
            node.server.kick(old)
        else:
            await node.requests.disconnect(namespace, (sid,))


async def farewell(node: Node, member: Member, reason: str) -> None:
    """Nothing of a socket stays but, after a broken connection, its session."""
    guest = member.data
    if not isinstance(guest, Guest) or guest.leaving:
        return
    guest.leaving = True
    node.bus.leave(member.namespace.name, member.sid)
    token_life.unwatch(node, member)
    try:
        await _give_back(node, member, guest, reason)
    finally:  # known until now, so that a successor with the same sid waits for the end
        node.guests.pop(guest.token, None)
        left = left_of(guest)
        if not left.done():
            left.set_result(None)


async def _give_back(node: Node, member: Member, guest: Guest, reason: str) -> None:
    await presence.leave(node, member.namespace.name, guest, guest.counted)
    try:
        await node.presence.disconnect(member.sid)
        if guest.session is not None:
            over = guest.behind or reason in reasons.FINAL
            await (node.sessions.close if over else node.sessions.park)(guest.session)
        _unheard.over()
    except RedisError as error:  # the leases end by themselves
        _unheard.seen(kind=type(error).__name__)
