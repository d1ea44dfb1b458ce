"""A small world on a real Valkey: nodes that die, clients that keep their own position as stock
clients do, transports that break half way. It knows what each client must have, may have and may
not have, and asks for it in `check`.
"""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.local import Rooms
from hub.cluster.recovery import Replay
from hub.cluster.server import Server
from hub.cluster.sessions import Session
from protocol.events import Class, Emit
from protocol.redis_wire import Broadcast
from tests.hub.cluster.nodes import Names, Node
from tests.hub.cluster.sockets import Socket, Sockets

PROMOTION = """
redis.call('HSET', KEYS[1], 'run', 'another')
for _, log in ipairs(redis.call('KEYS', ARGV[1])) do
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if last then redis.call('XDEL', log, last[1]) end
end
"""
ROOMS = ("r1", "r2", "r3", "r4", "r5", "r6")


@dataclass
class Frame:
    """What is under way to a client: missed events and the CONNECT reply in one, or an event,
    with its offset or without.
    """

    events: list[Broadcast]
    stamped: bool = True
    pid: str = ""
    recovered: bool = False


class Transport(Socket):
    """The engine's promises in small: what arrives before the CONNECT reply is held back; an alert
    that overtakes waiting frames goes without its offset.
    """

    def __init__(self, sid: str, owner: str):
        super().__init__(sid)
        self.owner = owner
        self.session: Session | None = None
        self.held: list[Broadcast] | None = []
        self.waiting: list[Frame] = []
        self.cut = False

    def accept(self, broadcast: Broadcast) -> None:
        if self.held is not None:
            self.held.append(broadcast)
        elif broadcast.klass == "alert" and self.waiting:
            place = sum(1 for f in self.waiting if f.pid or not f.stamped)
            self.waiting.insert(place, Frame([broadcast], stamped=False))
        else:
            self.waiting.append(Frame([broadcast]))

    def admit(self, frame: Frame, position: str) -> None:
        self.waiting.append(frame)
        held, self.held = self.held or [], None
        for broadcast in held:
            if not broadcast.offset or broadcast.offset > position:
                self.accept(broadcast)


class Crowd(Sockets):
    """The sockets of one node; those that lost something are cut."""

    def lost(self, namespace: str, rooms: Rooms) -> None:
        for socket in self.select(namespace, rooms, ()):
            self.cut(socket)

    def evict(self, owner: str) -> None:
        for socket in list(self.all.values()):
            if isinstance(socket, Transport) and socket.owner == owner:
                self.cut(socket)

    def cut(self, socket: Socket) -> None:
        assert isinstance(socket, Transport)
        if self.all.get(socket.sid) is socket:
            self.drop(socket)
        socket.cut = True


@dataclass
class Client:
    name: str
    pid: str = ""
    offset: str | None = None
    rooms: set[str] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)
    """Rooms of which nobody can say yet whether the client is in."""
    joined_ever: set[str] = field(default_factory=set)
    transport: Transport | None = None
    node: Node | None = None
    handled: list[tuple[str, str]] = field(default_factory=list)
    """Ids in the order of handling, each with its offset (empty: it had none)."""
    required: dict[str, set[str]] = field(default_factory=dict)
    """Ids, each with the rooms by which it was meant for the client (none: everybody's)."""
    forbidden: set[str] = field(default_factory=set)
    generation: int = 0
    """Grows when the client is told that it could not be recovered."""
    begins: int = 0
    """Where in `handled` the present generation begins."""

    @property
    def is_up(self) -> bool:
        return self.transport is not None and not self.transport.cut

    def handle(self, frame: Frame) -> None:
        if frame.pid:
            self.pid = frame.pid
            if not frame.recovered:
                self.begins = len(self.handled)
        for broadcast in frame.events:
            stamp = broadcast.offset if frame.stamped else ""
            self.handled.append((broadcast.args[0]["id"], stamp))
            if stamp:
                self.offset = stamp

    def give_up(self, room: str) -> None:
        for id_, rooms in list(self.required.items()):
            if room in rooms:
                rooms.discard(room)
                if not rooms:
                    del self.required[id_]

    def take(self, count: int) -> None:
        """The network brings some of what is under way."""
        if self.transport is not None and not self.transport.cut:
            for frame in self.transport.waiting[:count]:
                self.handle(frame)
            del self.transport.waiting[:count]


class World:
    def __init__(self, url: str, names: Names):
        self.url = url
        self.names = names
        self.line = Line(Server.of(url))
        self.emitter = Emitter(self.line, *names, LogLimits(window=30, events=100))
        self.nodes: list[Node] = []
        self.clients = [Client("mina"), Client("jun"), Client("sora")]
        self.ids = itertools.count()
        self.tokens = itertools.count()
        self.published: list[Emit] = []
        self.alerts: set[str] = set()
        self.repeatable: set[str] = set()
        self.bus_was_late = False

    async def start(self) -> "World":
        self.nodes = [await self._node(), await self._node()]
        return self

    async def _node(self) -> Node:
        return await Node(self.url, self.names, sockets=Crowd()).start()

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()
        await self.line.close()

    # --- what happens ----------------------------------------------------------------------------

    async def publish(
        self, rooms: tuple[str, ...], excepted: tuple[str, ...], klass: Class
    ) -> None:
        id_ = str(next(self.ids))
        emit = Emit(id=id_, event="x", rooms=rooms, except_rooms=excepted, klass=klass,
                    data={"id": id_})  # fmt: skip
        self.published.append(emit)
        if klass == "alert":
            self.alerts.add(id_)
        before = [(client.generation, self._is_for(client, emit)) for client in self.clients]
        await self.emitter.publish([emit])
        for client, (generation, meant) in zip(self.clients, before, strict=True):
            if meant is None or generation != client.generation:
                continue
            if meant and self._is_for(client, emit):
                client.required[id_] = client.rooms.intersection(rooms)
            elif meant is False and self._is_for(client, emit) is False:
                client.forbidden.add(id_)

    @staticmethod
    def _is_for(client: Client, emit: Emit) -> bool | None:
        """None: nobody can say."""
        if not client.pid:
            return None
        if not client.moving.isdisjoint((*emit.rooms, *emit.except_rooms)):
            return None
        meant = not emit.rooms or not client.rooms.isdisjoint(emit.rooms)
        return meant and client.rooms.isdisjoint(emit.except_rooms)

    async def publish_again(self, which: int) -> None:
        """As a sweeper does that does not know whether it was out."""
        if self.published:
            await self._publish_again([self.published[which % len(self.published)]])

    async def _publish_again(self, emits: list[Emit]) -> None:
        await self.emitter.publish(emits)
        again = self.repeatable.intersection(emit.id for emit in emits)
        for client in self.clients:
            client.forbidden -= again

    async def new_epoch(self) -> None:
        """A promotion shows as another run id; what the replica had not got yet is gone, and the
        sweeper publishes again. Ids may go out once more.
        """
        keys = self.names[0]
        await self.line.call("EVAL", PROMOTION, 1, keys.epoch, keys.log("*"))
        self.repeatable.update(emit.id for emit in self.published)
        await self._publish_again(list(self.published))

    async def lag(self, which: int) -> None:
        """The node's bus is late: what was published waits in the socket for a while."""
        self.bus_was_late = True
        link = self.nodes[which].cluster.bus._link
        transport = cast(asyncio.Transport | None, link and link._transport)
        if transport is not None and transport.is_reading():
            transport.pause_reading()
            asyncio.get_running_loop().call_later(0.02, transport.resume_reading)

    async def trim(self, room: str) -> None:
        await self.line.call("XTRIM", self.names[0].room_log("/", room), "MAXLEN", 1)

    async def join(self, client: Client, room: str) -> None:
        transport, node = client.transport, client.node
        if not client.is_up or transport is None or node is None or transport.session is None:
            return
        if room in client.rooms:
            return
        client.moving.add(room)
        client.joined_ever.add(room)
        for emit in self.published:  # what is still under way excepts whoever is in by then
            if room in emit.except_rooms:
                client.required.pop(emit.id, None)
        if await node.cluster.sessions.move(transport.session, join=[room]):
            if node.sockets.all.get(transport.sid) is not transport:
                return
            node.sockets.enter(transport, room)
            await node.cluster.bus.subscribed("/", [room])
            if client.is_up:
                client.rooms.add(room)
                client.moving.discard(room)

    async def leave(self, client: Client, room: str) -> None:
        transport, node = client.transport, client.node
        if not client.is_up or transport is None or node is None or transport.session is None:
            return
        if room not in client.rooms:
            return
        client.moving.add(room)
        client.rooms.discard(room)
        client.give_up(room)  # what had not come yet need not come
        client.forbidden -= {emit.id for emit in self.published if room in emit.except_rooms}
        moved = await node.cluster.sessions.move(transport.session, leave=[room])
        if moved and node.sockets.all.get(transport.sid) is transport:
            node.sockets.quit(transport, room)
            client.moving.discard(room)

    async def drop(self, client: Client, *, noticed: bool) -> None:
        """The network goes; its node notices at once, or not yet (half-open)."""
        transport, node = client.transport, client.node
        if transport is None or node is None:
            return
        known, transport.cut = transport.cut, True
        if noticed and not known and node.sockets.all.get(transport.sid) is transport:
            node.sockets.drop(transport)
            assert transport.session is not None
            await node.cluster.sessions.park(transport.session)
        client.transport = None

    async def break_bus(self, which: int) -> None:
        self.bus_was_late = True
        link = self.nodes[which].cluster.bus._link
        if link is not None:
            link.close()

    async def kill_node(self, which: int) -> None:
        """As kill -9 does: nothing is cleaned up, everybody on it is cut."""
        node = self.nodes[which]
        await node.cluster.bus.stop()
        await node.cluster.line.close()
        if node.cluster._renewing is not None:
            node.cluster._renewing.cancel()
        for socket in node.sockets.all.values():
            assert isinstance(socket, Transport)
            socket.cut = True
        self.nodes[which] = await self._node()

    async def connect(self, client: Client, which: int) -> None:
        if client.is_up:
            return
        node = self.nodes[which]
        if not await self._recover(client, node):
            await self._begin(client, node)

    async def _recover(self, client: Client, node: Node) -> bool:
        sessions, token = node.cluster.sessions, str(next(self.tokens))
        if not client.pid:
            return False
        found = await sessions.claim(pid=client.pid, user=client.name, namespace="/", token=token)
        if found is None:
            return False
        session, before = found
        if before:
            node.sockets.evict(before)
        transport = self._transport(client, node, session)
        replay = await node.cluster.recovery.replay(session, client.offset, list(session.rooms))
        if not isinstance(replay, Replay):
            node.sockets.drop(transport)
            await sessions.close(session)
            return False
        transport.admit(Frame(replay.events, pid=session.pid, recovered=True), replay.position)
        return True

    async def _begin(self, client: Client, node: Node) -> None:
        token = str(next(self.tokens))
        client.required.clear()
        client.moving.clear()
        client.generation += 1
        session = await node.cluster.sessions.open(
            pid=f"{client.name}{token}", user=client.name, sid=f"sid{token}", namespace="/",
            token=token, rooms=client.rooms,
        )  # fmt: skip
        transport = self._transport(client, node, session)
        await node.cluster.bus.subscribed("/", client.rooms)
        transport.admit(Frame([], pid=session.pid), "")
        client.pid = session.pid

    @staticmethod
    def _transport(client: Client, node: Node, session: Session) -> Transport:
        transport = Transport(session.sid, session.owner)
        transport.session = session
        node.sockets.put(transport, *session.rooms)
        client.transport, client.node = transport, node
        return transport

    # --- what must be ----------------------------------------------------------------------------

    async def settle(self) -> None:
        """Everybody is connected and has taken what is under way."""
        for _ in range(2):  # a repair may cut somebody while we wait for it
            for node in self.nodes:
                await node.cluster.bus.subscribed("/", [])
                await node.heard_all()
            for client in self.clients:
                await self.connect(client, 0)
        for node in self.nodes:
            await node.heard_all()
        for client in self.clients:
            client.take(10**6)

    def _repaired_early(self, client: Client) -> set[str]:
        """A late bus may bring what was published to a room shortly before it was joined."""
        if not self.bus_was_late:
            return set()
        rooms = client.joined_ever
        return {emit.id for emit in self.published if not rooms.isdisjoint(emit.rooms)}

    def check(self) -> None:
        for client in self.clients:
            handled = client.handled[client.begins :]
            times = Counter(id_ for id_, _ in handled)
            everything = {id_ for id_, _ in client.handled}
            missing = client.required.keys() - times.keys()
            assert not missing, f"{client.name} never got {missing}"
            wrong = client.forbidden & everything - self._repaired_early(client)
            assert not wrong, f"{client.name} should not have {wrong}"
            again = {id_ for id_, count in times.items() if count > 1}
            assert again <= self.alerts | self.repeatable, f"{client.name} got {again} twice"
            stamps = [stamp for _, stamp in handled if stamp]
            assert stamps == sorted(set(stamps)), f"{client.name} saw offsets go back"


Operation = tuple[Any, ...]


async def play(world: World, operation: Operation) -> None:
    name, *args = operation
    if name in {"join", "leave", "connect", "drop", "notice", "take"}:
        args[0] = world.clients[args[0]]
    match name:
        case "together":
            await asyncio.gather(*(play(world, one) for one in args))
        case "take":
            args[0].take(args[1])
        case "drop" | "notice":
            await world.drop(args[0], noticed=name == "notice")
        case _:
            await getattr(world, name)(*args)
