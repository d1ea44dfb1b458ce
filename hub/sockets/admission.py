"""How a socket comes in and goes: the token first, then its rooms, then its word of welcome.

The member is held by the engine until `admit` returns: what reaches its rooms meanwhile waits, and
nothing at all is sent before the token was verified.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from redis.exceptions import RedisError
from socketio.exceptions import ConnectionRefusedError as Refused

from hub.domain import members, sessions
from hub.domain import rooms as domain_rooms
from hub.domain.members import Welcome
from hub.engine import Event, Member, Unavailable, reasons
from hub.engine.rooms import HELD
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.telemetry.metrics import ERRORS, SOCKET_EVENTS
from hub.plumbing.telemetry.trace import traced
from hub.sockets import presence, recovery, rooms
from hub.sockets.gate import coded
from hub.sockets.node import NAMESPACE, Guest, Node, event_of, guest_of, left_of, visible
from protocol.errors import ERRORS as SPECS
from protocol.errors import Code, HubError
from protocol.events import Emit, Ready
from protocol.names import room_kind, user_room

EXPIRED_GRACE_S: Final = 30.0
"""How long a socket outlives its token."""

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
    with traced():
        try:
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
            SOCKET_EVENTS.count(namespace, CONNECT, outcome, seconds)
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
    token = await sessions.verify(node.domain, auth.get("token"))
    _still_here(member)
    node.logins.came(token.user_id)
    guest = member.data = Guest.of(token)
    node.guests[guest.token] = member
    session = await recovery.claimed(node, member) if member.pid and member.recovery else None
    before = frozenset(session.rooms) if session else frozenset()
    _still_here(member)
    guest.asked = domain_rooms.askable(before)
    await _come_home(node, member)
    _still_here(member)
    welcome = await _settle(node, member, before)
    await rooms.confirmed(node, map(str, member.room_names), member.namespace.name)
    _still_here(member)
    near = await _open_near(node, member)
    _still_here(member)
    await _note_presence(node, member)
    _still_here(member)
    # last: after the missed events are written nothing may fail any more
    recovered = session is not None and await recovery.replayed(node, member, session)
    _still_here(member)
    known = before if recovered else frozenset()
    _greet(node, member, welcome, recovered, [one for room, one in near if room not in known])
    return {"pid": guest.session.pid} if guest.session else {}


async def _come_home(node: Node, member: Member) -> None:
    """From here on the person's moves are heard: the rooms found out next cannot be stale."""
    guest = guest_of(member)
    home = user_room(guest.user_id)
    if guest.session is None and member.recovery:
        guest.session = await recovery.open_session(node, member, (home,))
    namespace = member.namespace.name
    node.bus.join(namespace, member.sid)
    await rooms.enter(node, member, (home,))
    await rooms.confirmed(node, (home, member.sid), namespace)


async def _settle(node: Node, member: Member, before: frozenset[str]) -> Welcome | None:
    """Enter the automatic rooms, and of a recovered session's those the person may still be in;
    None while Postgres is away: then the rooms stay that are known without it."""
    guest = guest_of(member)
    while True:
        guest.moved = False
        if guest.session is not None:  # what was ordered meanwhile holds
            before = before.intersection(guest.session.rooms)
        try:
            welcome = await _welcome(node, member)
            kept = await domain_rooms.still_open(node.domain, before)
        except HubError as error:
            if error.code != Code.UNAVAILABLE:
                raise
            node.stale[guest.user_id] = None
            guest.automatic = (user_room(guest.user_id),)
            guest.asked = domain_rooms.askable(before)
            await rooms.enter(node, member, before)
            return None
        if guest.moved:
            continue
        guest.automatic = welcome.rooms
        guest.asked = tuple(name for name in kept if name not in welcome.rooms)
        wanted = (*welcome.rooms, *guest.asked)
        held = (str(name) for name in member.room_names)
        gone = {*held, *before}.difference(wanted)
        await rooms.leave(node, member, gone)
        await rooms.enter(node, member, wanted)
        if not guest.moved:
            return welcome


async def _welcome(node: Node, member: Member) -> Welcome:
    """Outside of / only a person's own room is automatic."""
    user_id = guest_of(member).user_id
    if member.namespace.name == NAMESPACE:
        return await members.welcome(node.domain, user_id)
    return Welcome((user_room(user_id),), 0)


def _greet(
    node: Node, member: Member, welcome: Welcome | None, recovered: bool, near: Sequence[Emit]
) -> None:
    """`ready` first, then the open urgent questions of its cell, then what was held back. Other
    namespaces have no word of welcome: the answer to CONNECT says it all.
    """
    if member.namespace.name != NAMESPACE:
        return
    guest = guest_of(member)
    ready = Ready(
        sid=member.sid,
        user_id=guest.user_id,
        rooms=visible(member),
        unread=welcome.unread if welcome else None,
        server_time=node.domain.now(),
        recovered=recovered,
        pid=guest.session.pid if guest.session else None,
    )
    assert member.hold is not None
    told = {_id_of(event) for event in member.hold}
    missing = [rooms.alert(one) for one in near if one.id not in told]
    member.hold[:0] = [event_of("ready", ready), *missing]


def _id_of(event: Event) -> Any:
    data = event.args[1] if len(event.args) > 1 else None
    return data.get("id") if isinstance(data, dict) else None


async def _open_near(node: Node, member: Member) -> list[tuple[str, Emit]]:
    """Open urgent questions of the socket's cell, with its room."""
    found = []
    for name in map(str, member.room_names):
        if room_kind(name) == rooms.CELL:
            try:
                found += [(name, one) for one in await rooms.open_in(node, name)]
                rooms.untold.over()
            except HubError as error:
                rooms.untold.seen(code=error.code)
    return [(name, one) for name, one in found if rooms.concerns(member, one)]


async def _note_presence(node: Node, member: Member) -> None:
    """The lease of this socket; whoever is over the limit loses the oldest one.

    It is told DISCONNECT: a client that came back by itself would push out the next one, for ever.
    """
    guest = guest_of(member)
    grace = max(guest.expires_at - time.time(), 0) + EXPIRED_GRACE_S
    guest.expiry = node.expiries.add(member, grace)
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
    if guest.expiry:
        node.expiries.drop(member, guest.expiry)
    try:
        await _give_back(node, member.sid, guest, reason)
    finally:  # known until now, so that a successor with the same sid waits for the end
        node.guests.pop(guest.token, None)
        left = left_of(guest)
        if not left.done():
            left.set_result(None)


async def _give_back(node: Node, sid: str, guest: Guest, reason: str) -> None:
    await presence.leave(node, guest, guest.counted)
    try:
        await node.presence.disconnect(sid)
        if guest.session is not None:
            over = guest.behind or reason in reasons.FINAL
            await (node.sessions.close if over else node.sessions.park)(guest.session)
        _unheard.over()
    except RedisError as error:  # the leases end by themselves
        _unheard.seen(kind=type(error).__name__)
