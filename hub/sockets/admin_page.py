"""Socket.IO's official admin page (@socket.io/admin-ui), served as by a server in its production
mode: figures of this node every two seconds, and nothing that changes anything.

Its password is an administrator's access token, whatever the user name: so it ends as that token
does, by time or by revocation.
"""

import asyncio
import os
import socket
import time
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from hub.domain.people import sessions
from hub.engine import Event, Member, Server
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.stores.redis_client import AWAY
from hub.sockets.context import Node
from hub.sockets.guest import Guest, guest_of
from protocol.errors import forbidden
from protocol.tokens import Token

NAMESPACE: Final = "/admin"
EVERY_S: Final = 2.0
"""As the official server tells it."""

log = structlog.get_logger(__name__)


def open_to_admins(server: Server) -> None:
    """Somebody may connect there; the admit hook says who. No event of theirs is taken."""

    async def nothing(_event: str, _sid: str, *_: Any) -> None:
        return None

    server.on("*", nothing, namespace=NAMESPACE)


async def verified(node: Node, auth: dict[str, Any]) -> Token:
    """Raises as `sessions.verify`, and FORBIDDEN for who is no administrator."""
    token = await sessions.verify(node.domain, auth.get("password") or auth.get("token"))
    if token.role != "admin":
        raise forbidden("This needs an administrator.")
    return token


def let_in(node: Node, member: Member, token: Token) -> None:
    """What the page is told first: that it may show figures, and do nothing."""
    member.data = Guest(token)
    _say(node.server, "config", {"supportedFeatures": ["AGGREGATED_EVENTS"]}, member)


def _say(server: Server, name: str, data: dict[str, Any], *members: Member) -> None:
    event = Event([name, data], namespace=NAMESPACE, kind="room")
    server.deliver(event, [member.sid for member in members])


async def tell(node: Node) -> None:
    """Until cancelled."""
    start, before = time.monotonic(), _counted(node.server)
    away = Lasting(log, "admins are told unchecked", "admins are checked again")
    while True:
        await asyncio.sleep(EVERY_S)
        now = _counted(node.server)
        grown = {name: count - before[name] for name, count in now.items()}
        before = now
        members = list(node.server.members(NAMESPACE))
        if not members:
            continue
        try:
            members = await _still_admins(node, members)
            away.over()
        except AWAY as error:
            away.seen(kind=type(error).__name__)
        _say(node.server, "server_stats", _stats(node, time.monotonic() - start, grown), *members)


async def _still_admins(node: Node, members: list[Member]) -> list[Member]:
    """Whose token is over goes. Raises what says Redis is away."""
    tokens = [guest_of(member).access for member in members]
    revoked = await sessions.revoked(node.domain, tokens)
    now = node.domain.now().timestamp()
    kept = []
    for member, token, gone in zip(members, tokens, revoked, strict=True):
        if gone or token.expires_at <= now:
            node.server.kick(member)
        else:
            kept.append(member)
    return kept


def _counted(server: Server) -> dict[str, int]:
    """What the page draws over time, as the counters stand."""
    counters = server.book.counters
    return {
        "packetsIn": counters.frames_in,
        "packetsOut": counters.frames_out,
        "bytesIn": counters.bytes_in,
        "bytesOut": counters.bytes_out,
        "rawConnection": counters.opened["websocket"] + counters.opened["polling"],
        "rawDisconnection": sum(counters.closed.values()),
    }


def _stats(node: Node, uptime_s: float, grown: dict[str, int]) -> dict[str, Any]:
    sessions_here = list(node.server.eio.sockets.values())
    at = round(datetime.now(UTC).timestamp() * 1000)
    return {
        "serverId": node.id,
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "uptime": round(uptime_s, 1),
        "clientsCount": len(sessions_here),
        "pollingClientsCount": sum(not one.upgraded for one in sessions_here),
        "aggregatedEvents": [
            {"timestamp": at, "type": kind, "count": count}
            for kind, count in grown.items()
            if count > 0
        ],
        "namespaces": [
            {"name": name, "socketsCount": count} for name, count in node.server.live().items()
        ],
    }
