"""What any process publishes to rooms: to all nodes, in order, once by id."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from redis.exceptions import NoScriptError

from hub.cluster import scripts
from hub.cluster.line import Argument, Command, Line, settled
from hub.cluster.server import Server
from hub.plumbing.settings.redis_address import CLUSTER_PREFIX
from protocol.events import SERVER_EVENTS, Class, Emit
from protocol.names import NAME_RULE, ROOM_NAMESPACE, Channels, Keys, is_name, room_kind
from protocol.redis_wire import Broadcast, encode_closed, encode_open, of_emit
from protocol.stock import Untellable, check_event

PUBLISHED_TTL: Final = 3600
"""s an id is remembered, so that publishing it again does nothing."""

LOG_SLACK: Final = 240
"""s a log outlives RECOVERY_WINDOW. A connection can be dead for PRESENCE_TTL before its node
notices, and a session outlives its node by RECOVERY_WINDOW + PRESENCE_TTL: a log that expired
under a session that still lives would be a gap nobody sees."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """RECOVERY_WINDOW (s) and RECOVERY_EVENTS (entries of one log)."""

    window: int = 120
    events: int = 1000

    @property
    def ttl(self) -> int:
        return self.window + LOG_SLACK


class Emitter:
    """Everything published through one emitter reaches every node in the order of the calls."""

    def __init__(
        self,
        line: Line,
        keys: Keys,
        channels: Channels,
        limits: LogLimits | None = None,
        *,
        classic_out: bool = False,
    ):
        self._line = line
        self._keys = keys
        self._channels = channels
        self._classic_out = classic_out and bool(channels.slot)
        self._left_out = len(channels.slot.encode()) if self._classic_out else 0
        self._limits = limits or LogLimits()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        prefix: str = "",
        adapter_key: str = "socket.io",
        limits: LogLimits | None = None,
        classic_out: bool = False,
    ) -> AsyncIterator["Emitter"]:
        """An emitter with a connection of its own, for a service: opened when it is first used and
        again after a loss. `url` (any that `Server.of` reads), `prefix`, `adapter_key`, `limits`
        and `classic_out` are REDIS_URL, REDIS_PREFIX, ADAPTER_KEY, RECOVERY_WINDOW with
        RECOVERY_EVENTS, and REDIS_CLASSIC_OUT of the nodes: with a shorter window a log would end
        before the sessions that need it. Raises ValueError.
        """
        server = Server.of(url, prefix=prefix)
        if server.slot is not None:
            prefix = prefix or CLUSTER_PREFIX
        channels = Channels(adapter_key, "" if server.slot is None else prefix)
        line = Line(server, "dongne-emitter")
        try:
            yield cls(line, Keys(prefix), channels, limits, classic_out=classic_out)
        finally:
            await line.close()

    async def emit(
        self,
        event: str,
        data: Mapping[str, Any],
        *,
        room: str | Sequence[str],
        except_rooms: Sequence[str] = (),
        namespace: str | None = None,
        volatile: bool = False,
        id: str | None = None,
    ) -> str:
        """One event to whoever is in a room, or in any of several. Returns its offset; empty for a
        volatile event, and for an `id` that was published before.

        Its class is that of the events table, `room` for names of one's own; `id` is the data's or
        a new one. Raises Untellable (a ValueError) for what no stock client could be told, before
        anything is sent, and redis.exceptions.RedisError when Redis did not answer for it: again
        with the same `id` is safe. What Redis answered for it may still take along when it dies in
        the same moment.
        """
        rooms = (room,) if isinstance(room, str) else tuple(room)
        told = free_emit(event, data, rooms, tuple(except_rooms), namespace, volatile, id)
        return (await self.broadcast([(told.id, of_emit(told, time.time()))]))[0]

    async def publish(self, emits: Sequence[Emit]) -> None:
        """Sends the emits in order, in one round trip; each id goes out once (per epoch, 1 h).

        Raises redis.exceptions.RedisError when Redis did not answer for each of them, after all
        have been tried; publishing the same emits again is safe. Raises Untellable for what no
        stock client could be told, and WireError for data that msgpack cannot carry, before
        anything is sent.
        """
        now = time.time()
        messages = [(emit.id, of_emit(emit, now)) for emit in emits]
        await self.broadcast(messages)

    async def broadcast(self, messages: Sequence[tuple[str, Broadcast]]) -> list[str]:
        """As `publish`, of ids and broadcasts. Returns the offset of each: empty for volatile ones
        and for an id that had been published before.
        """
        commands = [self._commands(id_, broadcast) for id_, broadcast in messages]
        try:
            replies = await self._send(commands)
        except NoScriptError:
            await self._line.load_scripts()
            replies = await self._send(commands)
        return [reply.decode() if isinstance(reply, bytes) else "" for reply in replies]

    async def epoch(self) -> str:
        """Changes when Redis was restarted or a replica promoted: what was published shortly
        before may have reached nobody, and ids may go out again. Raises RedisError.
        """
        offset: bytes = await self._line.run(scripts.WHERE, [self._keys.epoch], ())
        return offset.decode().partition("-")[0]

    async def _send(self, commands: list[list[Command]]) -> list[Any]:
        """The reply to the last command of each message."""
        link = await self._line.link()
        replies = [[link.command(*command) for command in group] for group in commands]
        sent = [reply for group in replies for reply in group]
        if self._line.replicas:
            sent.append(self._line.kept(link, self._keys.epoch))
        await settled(sent)
        return [group[-1].result() for group in replies]

    def _commands(self, id_: str, broadcast: Broadcast) -> list[Command]:
        check_event(broadcast.event, broadcast.args)
        if broadcast.klass == "-":
            raise ValueError("an event of class '-' goes to one socket, not to rooms")
        if broadcast.klass == "volatile":
            return [
                command
                for room, message in encode_closed(broadcast)
                for command in self._told(self._channel(broadcast.namespace, room), message)
            ]
        return [self._logged(id_, broadcast)]

    def _told(self, channel: str, message: bytes) -> list[Command]:
        told: list[Command] = [(self._line.tell, self._channels.own(channel), message)]
        return [*told, ("PUBLISH", channel, message)] if self._classic_out else told

    def _logged(self, id_: str, broadcast: Broadcast) -> Command:
        keys = [self._keys.epoch, self._keys.published(id_)]
        args: list[Argument] = [PUBLISHED_TTL, self._limits.ttl, self._limits.events]
        args += (self._line.tell, self._left_out)
        for room, message in encode_open(broadcast):
            keys.append(self._log(broadcast.namespace, room))
            args += (self._channels.own(self._channel(broadcast.namespace, room)), message)
        return ("EVALSHA", scripts.PUBLISH.sha, len(keys), *keys, *args)

    def _channel(self, namespace: str, room: str | None) -> str:
        if room is None:
            return self._channels.namespace(namespace)
        return self._channels.room(namespace, room)

    def _log(self, namespace: str, room: str | None) -> str:
        if room is None:
            return self._keys.wide_log(namespace)
        return self._keys.room_log(namespace, room)


def free_emit(
    event: str,
    data: Mapping[str, Any],
    rooms: tuple[str, ...],
    except_rooms: tuple[str, ...] = (),
    namespace: str | None = None,
    volatile: bool = False,
    id: str | None = None,
) -> Emit:
    """An event with any name and fields, as `Emitter.emit` takes it. Raises Untellable."""
    if not rooms:
        raise Untellable("an event goes to one room at least")
    for room in (*rooms, *except_rooms):
        _check("a room's name", room)
    klass = _class_of(event)
    known = SERVER_EVENTS.get(event)
    space = namespace or ROOM_NAMESPACE.get(room_kind(rooms[0]))
    space = space or (known.namespace if known else "/")
    if not space.startswith("/") or "#" in space:
        raise Untellable("a namespace begins with / and holds no #")
    id = id or data.get("id") or str(uuid4())
    _check("an id", id)
    if data.get("id", id) != id:
        raise Untellable("the data has another id")
    check_event(event, (data,))
    return Emit(
        id=id,
        event=event,
        rooms=rooms,
        data={"id": id, **data},
        namespace=space,
        except_rooms=except_rooms,
        klass="volatile" if volatile else klass,
    )


def _class_of(event: str) -> Class:
    _check("an event's name", event)
    klass = SERVER_EVENTS[event].klass if event in SERVER_EVENTS else "room"
    if klass == "-":
        raise Untellable(f"{event} is what a node tells one of its sockets, never a room")
    return klass


def _check(what: str, name: object) -> None:
    if not is_name(name):
        raise Untellable(f"{what} has {NAME_RULE}")
