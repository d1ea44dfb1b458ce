"""The receiving end of cluster tests: sockets that are nothing but a list of what reached them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hub.cluster.local import Rooms
from protocol.events import Revocation
from protocol.redis_requests import RemoteSocket
from protocol.redis_wire import Broadcast


class Socket:
    def __init__(self, sid: str, namespace: str = "/"):
        self.sid = sid
        self.namespace = namespace
        self.rooms: set[str] = set()
        self.received: list[Broadcast] = []
        self.closed = False

    def accept(self, broadcast: Broadcast) -> None:
        self.received.append(broadcast)

    @property
    def ids(self) -> list[Any]:
        return [broadcast.args[0]["id"] for broadcast in self.received]


AnySocket = TypeVar("AnySocket", bound=Socket)


class Sockets:
    """Implements hub.cluster.local.Local in memory."""

    def __init__(self) -> None:
        self.all: dict[str, Socket] = {}
        self.served: list[tuple[str, list[Any]]] = []
        self.lost_rooms: list[tuple[str, Rooms]] = []
        self.evicted: list[str] = []
        self.disconnected: list[tuple[str, bool]] = []
        self.revoked: list[Revocation] = []
        self.answers: dict[str, list[Any]] = {}
        self.heard = 0
        self.opened: Callable[[str, str], None] = lambda namespace, room: None
        self.emptied: Callable[[str, str], None] = lambda namespace, room: None

    def add(self, sid: str, *rooms: str, namespace: str = "/") -> Socket:
        return self.put(Socket(sid, namespace), *rooms)

    def put(self, socket: AnySocket, *rooms: str) -> AnySocket:
        self.all[socket.sid] = socket
        for room in (socket.sid, *rooms):
            self.enter(socket, room)
        return socket

    def enter(self, socket: Socket, room: str) -> None:
        if not self._members(socket.namespace, room):
            self.opened(socket.namespace, room)
        socket.rooms.add(room)

    def quit(self, socket: Socket, room: str) -> None:
        socket.rooms.discard(room)
        if not self._members(socket.namespace, room):
            self.emptied(socket.namespace, room)

    def drop(self, socket: Socket) -> None:
        self.all.pop(socket.sid, None)
        for room in list(socket.rooms):
            self.quit(socket, room)
        socket.closed = True

    def _members(self, namespace: str, room: str) -> list[Socket]:
        return self.select(namespace, (room,), ())

    def select(self, namespace: str, rooms: Rooms, except_rooms: Rooms) -> list[Socket]:
        return [
            socket
            for socket in self.all.values()
            if socket.namespace == namespace
            and (not rooms or not socket.rooms.isdisjoint(rooms))
            and socket.rooms.isdisjoint(except_rooms)
        ]

    # --- Local ----------------------------------------------------------------------------------

    def deliver(self, broadcast: Broadcast) -> None:
        self.heard += 1
        for socket in self.select(broadcast.namespace, broadcast.rooms, broadcast.except_rooms):
            socket.accept(broadcast)

    def ask(self, broadcast: Broadcast, timeout: float, answer: Callable[[list[Any]], None]) -> int:
        asked = self.select(broadcast.namespace, broadcast.rooms, broadcast.except_rooms)
        for socket in asked:
            socket.received.append(broadcast)
            if socket.sid in self.answers:
                loop = asyncio.get_running_loop()
                loop.call_soon(answer, self.answers[socket.sid])
        return len(asked)

    def sockets(self, namespace: str, rooms: Rooms, except_rooms: Rooms) -> list[RemoteSocket]:
        return [
            RemoteSocket(
                id=socket.sid,
                rooms=tuple(sorted(socket.rooms)),
                handshake={"auth": {"token": "secret"}, "headers": {"cookie": "secret"}},
                data={"sid": socket.sid},
            )
            for socket in self.select(namespace, rooms, except_rooms)
        ]

    def rooms(self, namespace: str) -> Iterable[str]:
        found: dict[str, None] = defaultdict()
        for socket in self.select(namespace, (), ()):
            found |= dict.fromkeys(socket.rooms)
        return list(found)

    def join(
        self,
        namespace: str,
        rooms: Rooms,
        except_rooms: Rooms,
        into: Rooms,
        *,
        keep_asked: bool = False,
    ) -> None:
        for socket in self.select(namespace, rooms, except_rooms):
            for room in into:
                self.enter(socket, room)

    def leave(
        self,
        namespace: str,
        rooms: Rooms,
        except_rooms: Rooms,
        out_of: Rooms,
        *,
        keep_asked: bool = False,
    ) -> None:
        for socket in self.select(namespace, rooms, except_rooms):
            for room in out_of:
                self.quit(socket, room)

    def disconnect(self, namespace: str, rooms: Rooms, except_rooms: Rooms, close: bool) -> None:
        for socket in self.select(namespace, rooms, except_rooms):
            self.disconnected.append((socket.sid, close))
            self.drop(socket)

    def revoke(self, revocation: Revocation) -> None:
        self.revoked.append(revocation)

    def serve(
        self, namespace: str, args: Sequence[Any], answer: Callable[[Any], None] | None
    ) -> None:
        self.served.append((namespace, list(args)))
        if answer is not None:
            answer({"from": "hub", "args": list(args)})

    def lost(self, namespace: str, rooms: Rooms) -> None:
        self.lost_rooms.append((namespace, rooms))

    def evict(self, owner: str) -> None:
        self.evicted.append(owner)
