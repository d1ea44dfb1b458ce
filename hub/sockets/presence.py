"""How many people are in a room: counted by leases in Redis, told at most once a second."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from hub.cluster.presence import Headcount
from hub.domain.chat import deaf_to
from hub.domain.rooms import place, told
from hub.engine import Member
from hub.plumbing.life.lasting import Lasting
from hub.sockets.context import Node, event_of
from hub.sockets.guest import Guest, guest_of
from protocol.errors import HubError, unavailable
from protocol.events import emit
from protocol.names import room_kind
from protocol.payload import Message

TELL_EVERY_S: Final = 1.0

SMALL_ROOM: Final = 200
"""People in a room up to which each of them is told who comes and goes; in larger ones only the
count is."""

STREAM: Final = "stream:"

log = structlog.get_logger(__name__)

_behind = Lasting(log, "counts of rooms are behind", "counts of rooms are kept again")


async def enter(node: Node, member: Member, names: Sequence[str]) -> None:
    """Count a socket's person in. Without Redis the count is behind until the next lease."""
    guest, kinds = guest_of(member), node.namespaces[member.namespace.name].counted
    fresh = [name for name in names if room_kind(name) in kinds and name not in guest.counted]
    guest.counted = (*guest.counted, *fresh)
    entering = (node.presence.enter(_place(node, name), guest.user_id) for name in fresh)
    changed = _note(fresh, await asyncio.gather(*entering, return_exceptions=True))
    row = node.namespaces[member.namespace.name]
    if row.came and changed:
        node.spawn(_tell_of(node, guest.user_id, changed, row.came))


async def leave(node: Node, namespace: str, guest: Guest, names: Sequence[str]) -> None:
    gone = [name for name in names if name in guest.counted]
    guest.counted = tuple(name for name in guest.counted if name not in gone)
    leaving = (node.presence.leave(_place(node, name), guest.user_id) for name in gone)
    changed = _note(gone, await asyncio.gather(*leaving, return_exceptions=True))
    row = node.namespaces[namespace]
    if row.went and changed:
        node.spawn(_tell_of(node, guest.user_id, changed, row.went))


def _note(names: Sequence[str], results: Sequence[Headcount | BaseException]) -> dict[str, int]:
    """The rooms to which somebody has come, or from which somebody has gone, and how many are there
    now.
    """
    changed = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, RedisError):
            _behind.seen(kind=type(result).__name__)
        elif isinstance(result, BaseException):
            raise result
        else:
            _behind.over()
            if result.changed:
                changed[name] = result.people
    return changed


async def _tell_of(
    node: Node,
    user_id: str,
    rooms: Mapping[str, int],
    word: Callable[[str, str, int], tuple[str, Message]],
) -> None:
    """Everybody in a small room hears of one person, but for who is blocked or blocks. What a store
    that is away does not take is lost: the next count tells as much.
    """
    small = {room: people for room, people in rooms.items() if people <= SMALL_ROOM}
    if not small:
        return
    with contextlib.suppress(RedisError, HubError):
        deaf = await deaf_to(node.domain, user_id)
        emits = []
        for room, people in small.items():
            event, message = word(room, user_id, people)
            id = str(uuid4())
            emits.append(emit(event, message, id=id, rooms=(room,), except_rooms=deaf, key=room))
        await node.emitter.publish(emits)


async def online(node: Node, namespace: str, room: str) -> int:
    """People in a room, as a member may be told. Raises UNAVAILABLE."""
    try:
        count = told(room, await node.presence.count(_place(node, room)))
    except RedisError as error:
        raise unavailable("Presence cannot be asked now.") from error
    if (answered := node.told.get((namespace, room))) is not None:
        answered.add(count)
    return count


def _place(node: Node, room: str) -> str:
    return place(node.domain.keys, room)


async def tell(node: Node) -> None:
    """For ever: each second, rooms with members here whose count is another one than all of them
    were told hear it.

    Redis is asked and nobody else: so each member hears it at most once a second, however many
    nodes there are, and a node that died is noticed too.
    """
    last: dict[tuple[str, str], int] = {}
    silent = Lasting(log, "counts could not be told", "counts are told again")
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        try:
            last = await _tell(node, last)
            silent.over()
        except RedisError as error:
            silent.seen(kind=type(error).__name__)


async def _tell(node: Node, last: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    answered = dict(node.told)
    node.told.update((key, set()) for key in answered)
    counts = await node.presence.counts([_place(node, room) for _, room in answered])
    now = {
        (namespace, room): told(room, count)
        for (namespace, room), count in zip(answered, counts, strict=True)
    }
    for (namespace, room), count in now.items():
        known = {last.get((namespace, room), 0), *answered[namespace, room]}
        if known != {count}:
            event, message = node.namespaces[namespace].count(room, count)
            node.server.deliver(event_of(event, message, namespace=namespace, key=room), (room,))
    return now
