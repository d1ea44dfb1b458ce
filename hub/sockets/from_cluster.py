"""What the cluster brings to the sockets of this node."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from hub.cluster.local import Rooms
from hub.engine import Event, Member, Server
from hub.plumbing.telemetry.metrics import OUTBOX_DROPPED, PUBLISH_TO_SOCKET, UNKNOWN
from hub.plumbing.telemetry.trace import marked
from hub.sockets.context import Order
from hub.sockets.guest import Guest, visible
from protocol.events import SERVER_EVENTS, Revocation
from protocol.names import HIDDEN_ROOMS, room_kind
from protocol.redis_requests import RemoteSocket
from protocol.redis_wire import Broadcast


class LocalSockets:
    """hub.cluster.local.Local for the engine's members; orders go into the queue."""

    def __init__(
        self,
        server: Server,
        guests: dict[str, Member],
        orders: asyncio.Queue[Order],
        revoked: Callable[[Revocation], None],
    ) -> None:
        self._server = server
        self._guests = guests
        self._orders = orders
        self._revoked = revoked

    def deliver(self, broadcast: Broadcast) -> None:
        now = time.time()
        name = broadcast.event if broadcast.event in SERVER_EVENTS else UNKNOWN
        if broadcast.deadline is not None and broadcast.deadline <= now:
            OUTBOX_DROPPED.labels(event=name).inc()
            return
        klass = broadcast.klass
        event = Event(
            [broadcast.event, *broadcast.args],
            namespace=broadcast.namespace,
            kind="room" if klass == "-" else klass,
            key=f"{broadcast.event} {broadcast.key}" if broadcast.key else None,
            offset=broadcast.offset or None,
        )
        rooms = broadcast.rooms or None
        if broadcast.trace:
            with marked(broadcast.trace, f"write {name}"):
                self._server.deliver(event, rooms, broadcast.except_rooms)
        else:
            self._server.deliver(event, rooms, broadcast.except_rooms)
        if broadcast.at is not None:
            PUBLISH_TO_SOCKET.labels(event=name).observe(max(0.0, now - broadcast.at))

    def ask(self, broadcast: Broadcast, timeout: float, answer: Callable[[list[Any]], None]) -> int:
        args = [broadcast.event, *broadcast.args]
        rooms = broadcast.rooms or None
        chosen = self._server.select(rooms, broadcast.except_rooms, broadcast.namespace)
        members = [member for member in chosen if member.connected]
        asked = _Asked(answer)
        for member in members:
            taken = partial(asked.take, member)
            asked.waiting[member] = member.ask(args, taken)
        if members:
            asked.timer = asyncio.get_running_loop().call_later(timeout, asked.end)
        return len(members)

    def sockets(self, namespace: str, rooms: Rooms, except_rooms: Rooms) -> list[RemoteSocket]:
        return [
            RemoteSocket(
                id=member.sid,
                rooms=(member.sid, *visible(member)),
                handshake={"address": member.link.address},
                data={"userId": member.data.user_id} if isinstance(member.data, Guest) else None,
            )
            for member in self._server.select(rooms or None, except_rooms, namespace)
            if member.connected
        ]

    def rooms(self, namespace: str) -> Iterable[str]:
        """Without the rooms that stand in no list."""
        space = self._server.manager.namespaces[namespace]
        names = [str(name) for name in space.rooms if room_kind(str(name)) not in HIDDEN_ROOMS]
        return [*names, *(member.sid for member in self._server.members(namespace))]

    def join(
        self,
        namespace: str,
        rooms: Rooms,
        except_rooms: Rooms,
        into: Rooms,
        *,
        keep_asked: bool = False,
    ) -> None:
        order = Order(rooms, except_rooms, join=into, namespace=namespace, keep_asked=keep_asked)
        self._orders.put_nowait(order)

    def leave(
        self,
        namespace: str,
        rooms: Rooms,
        except_rooms: Rooms,
        out_of: Rooms,
        *,
        keep_asked: bool = False,
    ) -> None:
        order = Order(rooms, except_rooms, leave=out_of, namespace=namespace, keep_asked=keep_asked)
        self._orders.put_nowait(order)

    def disconnect(self, namespace: str, rooms: Rooms, except_rooms: Rooms, close: bool) -> None:
        """DISCONNECT is final for stock clients; the transport ends with its last member."""
        for member in self._server.select(rooms or None, except_rooms, namespace):
            self._server.kick(member)

    def revoke(self, revocation: Revocation) -> None:
        self._revoked(revocation)

    def serve(
        self, namespace: str, args: Sequence[Any], answer: Callable[[Any], None] | None
    ) -> None:
        """Nothing here listens to servers; who waits for an answer is not kept waiting."""
        if answer is not None:
            answer(None)

    def lost(self, namespace: str, rooms: Rooms) -> None:
        for member in self._server.select(rooms or None, (), namespace):
            self._server.cut(member)

    def evict(self, owner: str) -> None:
        member = self._guests.get(owner.partition(" ")[2])
        if member is not None:
            self._server.cut(member)


class _Asked:
    """One question to many clients: one timer, which ends with the last answer. `waiting` has the
    number of the ack that each of them still owes.
    """

    def __init__(self, answer: Callable[[list[Any]], None]) -> None:
        self._answer = answer
        self.waiting: dict[Member, int] = {}
        self.timer: asyncio.TimerHandle | None = None

    def take(self, member: Member, *got: Any) -> None:
        self.waiting.pop(member, None)
        if not self.waiting and self.timer is not None:
            self.timer.cancel()
        self._answer(list(got))

    def end(self) -> None:
        """What comes from now on is nobody's answer."""
        for member, number in self.waiting.items():
            if member.callbacks:
                member.callbacks.pop(number, None)
        self.waiting.clear()
