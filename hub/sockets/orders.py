"""Rooms that the server changes: for somebody who moved, or because another server says so."""

import asyncio

import structlog
from redis.exceptions import RedisError

from hub.engine import LIVE, Member
from hub.sockets import open_alerts, rooms
from hub.sockets.context import Node, Order
from hub.sockets.guest import guest_of
from protocol.events import Move
from protocol.names import room_kind, user_room

log = structlog.get_logger(__name__)


async def move(node: Node, one: Move) -> None:
    """Carry out a move here before the cluster brings it; repeating it does nothing.

    Raises UNAVAILABLE when Redis does not confirm the rooms.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    node.orders.put_nowait(Order((one.room,), (), one.join, one.leave, done, keep_asked=True))
    await done
    await rooms.confirmed(node, one.join)


async def obey_orders(node: Node) -> None:
    """Carry out orders one by one, in the order in which they were heard; for ever."""
    while True:
        order = await node.orders.get()
        try:
            await _obey(node, order)
        except Exception:  # one bad order must not end the others
            log.exception("an order could not be carried out")
        node.orders.task_done()
        if order.done is not None and not order.done.done():
            order.done.set_result(None)


async def _obey(node: Node, order: Order) -> None:
    members = node.server.select(order.rooms or None, order.excepted, order.namespace)
    if order.leave and not order.keep_asked:
        node.spawn(_forget(node, order))
    moved = await asyncio.gather(*(_obey_one(node, member, order) for member in members))
    places: dict[str, list[Member]] = {}
    for member, fresh in zip(members, moved, strict=True):
        for name in fresh:
            if room_kind(name) in open_alerts.PLACES and member.state == LIVE:
                places.setdefault(name, []).append(member)
    for name, entered in places.items():
        node.spawn(open_alerts.tell(node, name, entered))


async def _obey_one(node: Node, member: Member, order: Order) -> tuple[str, ...]:
    guest = guest_of(member)
    guest.moved = True
    change = guest.grounds.moved if order.keep_asked else guest.grounds.ordered_by_another
    return await rooms.fit(node, member, change(order.join, order.leave))


async def _forget(node: Node, order: Order) -> None:
    """Somebody's sockets leave rooms by the order of another server: those that are away just now
    do not come back to them either."""
    home = user_room("")
    for user in (name.removeprefix(home) for name in order.rooms if name.startswith(home)):
        for room in order.leave:
            try:
                await node.sessions.remove(user, order.namespace, room, only_parked=True)
            except RedisError as error:
                rooms.unnoted.seen(kind=type(error).__name__)
