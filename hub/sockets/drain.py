"""How the sockets of a node that goes away end: told first, closed in order, not all at once."""

import asyncio
from functools import partial
from typing import Final

import structlog
from redis.exceptions import RedisError

from hub.engine import Member
from hub.plumbing.settings.settings import Settings
from hub.sockets.context import Node
from hub.sockets.guest import Guest, guest_of, left_of
from protocol.events.session import ServerShutdown

STOP_RESERVE_S: Final = 5.0
"""What the drain leaves of SHUTDOWN_TIMEOUT for everything that stops after it."""

DRAIN_SHARE: Final = 0.8
"""Of DRAIN_RATE: stock clients wait 0.5 to 1.5 s at random, so some seconds see more of them."""

log = structlog.get_logger(__name__)


async def announce(node: Node, stopping: asyncio.Event) -> None:
    """As soon as the node begins to stop, the others that do so at the same time hear of it: what
    they have together is what the ones that stay must bear.
    """
    await stopping.wait()
    try:
        await node.presence.leave_soon()
    except RedisError as error:  # the drain is then as fast as that of one node alone
        log.warning("nobody heard that the node leaves", error=type(error).__name__)


async def drain(node: Node, settings: Settings) -> None:
    """Refuse what is new, tell every socket when it will be closed, close them in that order.

    The nodes that stay see at most DRAIN_RATE connects a second each, however many leave at once;
    more where SHUTDOWN_TIMEOUT is too short for that.
    """
    process = settings.process
    timeout_s = process.shutdown_timeout_ms / 1000 - process.drain_pause_s
    seconds = max(timeout_s - STOP_RESERVE_S, timeout_s / 4)
    rate = settings.sockets.drain_rate * DRAIN_SHARE * await _share(node)
    needed_s = len(node.guests) / rate
    if needed_s > seconds:
        log.warning("SHUTDOWN_TIMEOUT is short for DRAIN_RATE", haveS=seconds, needS=needed_s)
    closed = await node.server.drain(rate, seconds, partial(_say_when, node))
    log.info("sockets drained", sockets=closed)
    await _until_left(node)
    await node.server.close()


async def _share(node: Node) -> float:
    """How many of the nodes that stay there are for each that leaves."""
    try:
        leaving = {node.id, *await node.presence.leaving()}
        staying = set(await node.presence.nodes()) - leaving
    except RedisError:
        return 1
    return max(1, len(staying)) / len(leaving)


def _say_when(node: Node, member: Member, after_ms: int) -> None:
    if isinstance(member.data, Guest):
        message = ServerShutdown(reason="shutting down", reconnect_after_ms=after_ms)
        node.send(member, "server:shutdown", message)


async def _until_left(node: Node) -> None:
    """Until every farewell has been said, so that no lease and no count stays."""
    left = [left_of(guest_of(member)) for member in node.guests.values()]
    if left:
        await asyncio.wait(left, timeout=STOP_RESERVE_S / 2)
