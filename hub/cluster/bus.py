"""What this node hears from Redis: the rooms it has members of, and nothing is missed.

One connection listens. Numbered events arrive in order of their offsets, so `position`, the
highest offset heard, says what this node has: after a lost connection the logs fill in
everything after it before anything live is handed on.

A connection can outlive the server's place: it then hears by replication, after a gap. Two signs
prove one, a beat of ours that never came and an epoch that begins while we listen. What was heard
up to the last unbroken beat is sure; from there on the logs are compared with what was handed on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from hub.cluster.line import backoff
from hub.cluster.link import Link
from hub.cluster.local import Local, Rooms
from hub.cluster.log import Log, LogName, merged, trimmed
from hub.cluster.pulse import Pulse
from hub.cluster.server import Server
from hub.cluster.subscriptions import Subscriptions
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.waiting import came_before
from protocol.names import Channels
from protocol.redis_wire import (
    OFFSET_BYTES,
    Broadcast,
    ForeignWire,
    WireError,
    decode_broadcast,
    is_ours,
)

HELD_AT_MOST: Final = 100_000
"""Messages kept while the logs are read; with more the connection is given up and tried again."""

CATCH_UP_TIMEOUT: Final = 30.0
"""s until a connection that should listen again, and was told nothing more, is given up."""

log = structlog.get_logger(__name__)


class Bus:
    """`pulse` is set by whoever builds both (it hears through the bus). `resumed` is called each
    time it listens again; `lost` with the namespace and rooms (none: all) of sockets that missed
    something no log can mend. Counters only grow.
    """

    pulse: Pulse

    def __init__(
        self,
        server: Server,
        logs: Log,
        channels: Channels,
        local: Local,
        *,
        name: str = "dongne-bus",
        lag_limit: float = 2.0,
        resumed: Callable[[], None] = lambda: None,
        lost: Callable[[str, Rooms], Awaitable[None]],
    ):
        self._server = server
        self._logs = logs
        self._channels = channels
        self._local = local
        self._name = name
        self._lag_limit = lag_limit
        self._resumed = resumed
        self._lose = lost
        self._subscriptions = Subscriptions(channels.slot)
        self._handlers: dict[bytes, Callable[[bytes], None]] = {}
        self._rooms: dict[LogName, None] = {}
        self._link: Link | None = None
        self._live = asyncio.Event()
        self._held: list[bytes] | None = None
        self._last: bytes | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._passed = ""
        self._sure = ""
        self._handed: list[str] = []
        self._gap = False
        self._epoch_end = ""
        self._foreign: set[str] = set()
        self._away = Lasting(log, "bus_lost", "bus_listens_again")
        self._waits: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.position = ""
        self.messages = 0
        self.malformed = 0
        self.failed = 0
        self.reconnects = 0
        self.repaired = 0
        self.gaps = 0

    # --- what it listens to ----------------------------------------------------------------------

    def serve(self, namespace: str) -> None:
        """Events to a whole namespace, or to many of its rooms at once."""
        self._rooms[namespace, None] = None
        self._hear(self._channels.namespace(namespace))

    def listen(self, channel: str, handler: Callable[[bytes], None]) -> None:
        """Any other channel. What the handler raises is counted and survived."""
        self._handlers[channel.encode()] = handler
        self._subscriptions.add(channel.encode())

    def join(self, namespace: str, room: str) -> None:
        """The first member of a room is on this node."""
        self._rooms[namespace, room] = None
        self._hear(self._channels.room(namespace, room))

    def leave(self, namespace: str, room: str) -> None:
        """The last one has gone."""
        self._rooms.pop((namespace, room), None)
        for name in self._channels.names(self._channels.room(namespace, room)):
            self._handlers.pop(name.encode(), None)
            self._subscriptions.remove(name.encode())

    def _hear(self, channel: str) -> None:
        """On a cluster our own events come by the slot; only others use the classic channel."""
        own, *classic = self._channels.names(channel)
        self.listen(own, self._message)
        for name in classic:
            self.listen(name, self._others)

    async def subscribed(self, namespace: str, rooms: Iterable[str]) -> None:
        """Returns when everything published from now on to these joined rooms is heard. While
        Redis is away it waits: callers set a time-out.
        """
        names = (self._channels.names(self._channels.room(namespace, room)) for room in rooms)
        channels = [name.encode() for all_of in names for name in all_of]
        while True:
            await self._live.wait()
            await self._subscriptions.confirmed(channels)
            if self._live.is_set():
                return

    async def reached(self, offset: str) -> None:
        """Returns when everything numbered up to an offset that a node message of this node has
        carried (`Pulse.send`, `Log.read`) was handed on, live or by repair.
        """
        await self._when(lambda: self.position >= offset)

    @property
    def rooms(self) -> int:
        """Rooms and namespaces this node listens to."""
        return len(self._rooms)

    @property
    def ready(self) -> bool:
        return self._live.is_set() and self.pulse.is_beating and self.pulse.lag <= self._lag_limit

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when it listens; tries until Redis is there."""
        self._tasks = [
            asyncio.create_task(self._run()),
            asyncio.create_task(self.pulse.run(self._silent)),
        ]
        await self._live.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._detach()

    async def _run(self) -> None:
        failures = 0
        while True:
            gone = asyncio.Event()
            try:
                lost = partial(self._lost, gone)
                self._link = await self._server.open(self._name, self._push, lost)
                async with asyncio.timeout(CATCH_UP_TIMEOUT):
                    caught_up = await self._catch_up(self._link, gone)
                if caught_up:
                    failures = 0
                    self._away.over(position=self.position)
                await self._server.until_lost(self._link, gone)
                self._away.seen(position=self.position)
            except (RedisError, TimeoutError) as error:
                self._away.seen(error=type(error).__name__, failures=failures)
            except Exception:  # whatever it is, a deaf node is worse
                self._away.seen(exc_info=True, failures=failures)
            finally:
                self._detach()
            await asyncio.sleep(backoff(failures))
            failures += 1
            self.reconnects += 1

    def _lost(self, gone: asyncio.Event) -> None:
        """At once, before anybody else runs: nothing is confirmed any more."""
        self._live.clear()
        gone.set()

    def _detach(self) -> None:
        self._live.clear()
        self._subscriptions.detach()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _silent(self) -> None:
        if self._link is not None and self._live.is_set():
            self._away.seen(error="silent")
            self._link.close()

    async def _catch_up(self, link: Link, gone: asyncio.Event) -> bool:
        """Subscribe to everything, hold what arrives, read what was missed, hand on both.

        False when the connection broke meanwhile: nothing was handed on, `position` is as it was.
        """
        self._held = []
        self._passed = ""
        self._subscriptions.attach(link)
        if not await came_before(self._subscriptions.confirmed(), gone):
            return False
        await self._server.still_owns(link)
        self.pulse.restart()
        missed: dict[str, Broadcast] = {}
        if self.position:
            offset, missed = await self._missed()
            if not await came_before(self._when(lambda: self._passed >= offset), gone):
                return False
        else:
            offset = await self.pulse.send("start")
        self._hand_on(missed)
        self._advance(offset)
        self.unbroken(offset)
        self._gap = False
        self._live.set()
        self._resumed()
        return True

    async def _missed(self) -> tuple[str, dict[str, Broadcast]]:
        """Where the log stood when all was read, and what it holds after `position`. After a gap,
        whoever should have had something before the last that was handed on has lost it: clients
        keep one position.
        """
        since = self._sure if self._gap else self.position
        handed = frozenset(self._handed)
        reading = await self._logs.read(dict.fromkeys(self._rooms, since), self.pulse.channel)
        for (namespace, room), entries in reading.entries.items():
            late = (one.offset < self.position and one.offset not in handed for one in entries)
            if trimmed(entries, since) or len(entries) > self._logs.limit or any(late):
                await self._lose(namespace, () if room is None else (room,))
        missed = {}
        for offset, entry in merged(reading.entries).items():
            broadcast = self._decoded(entry.payload) if offset > self.position else None
            if broadcast is not None:
                missed[offset] = broadcast
        log.info("bus_repaired", events=len(missed), since=since, position=reading.offset)
        self.repaired += len(missed)
        return reading.offset, missed

    def _hand_on(self, missed: dict[str, Broadcast]) -> None:
        """What was missed and what was held, each event once, by offset; then what has none."""
        held, self._held = self._held or [], None
        loose: list[Broadcast] = []
        for payload in held:
            broadcast = self._decoded(payload)
            if broadcast is None:
                continue
            if broadcast.offset:
                missed.setdefault(broadcast.offset, broadcast)
            else:
                loose.append(broadcast)
        since = self.position
        for offset in sorted(missed):
            if offset > since:
                self._deliver(missed[offset])
        for broadcast in loose:
            self._deliver(broadcast)

    # --- messages --------------------------------------------------------------------------------

    def heard(self, offset: str) -> None:
        """A message of the node itself says where the log stands."""
        self._passed = max(self._passed, offset)
        if self._held is not None:
            self._wake()
        elif offset > self._epoch_end:
            self.gap("epoch")
        else:
            self._advance(offset)

    def unbroken(self, offset: str) -> None:
        """Everything numbered up to it was heard, also by what came in between."""
        self._sure = offset
        self._handed = [one for one in self._handed if one > offset]

    def gap(self, proof: str = "beat") -> None:
        """Something may have passed unheard although the connection stands: another one, to
        whoever is the master now, and what is missing from the logs.
        """
        if self._link is None or not self._live.is_set():
            return
        self.gaps += 1
        self._gap = True
        log.warning("bus_gap", proof=proof, sure=self._sure, position=self.position)
        self._link.close()

    def _advance(self, offset: str) -> None:
        self.position = max(self.position, offset)
        self._epoch_end = self.position.partition("-")[0] + "."  # above each offset of its epoch
        self._wake()

    def _wake(self) -> None:
        for wait in [wait for wait in self._waits if wait[0]()]:
            self._waits.remove(wait)
            if not wait[1].done():
                wait[1].set_result(None)

    async def _when(self, true: Callable[[], bool]) -> None:
        if true():
            return
        wait = (true, asyncio.get_running_loop().create_future())
        self._waits.append(wait)
        try:
            await wait[1]
        finally:
            if wait in self._waits:
                self._waits.remove(wait)

    def _push(self, push: list[Any]) -> None:
        kind, channel, payload = push
        if kind == b"message" or kind == b"smessage":
            handler = self._handlers.get(channel)
            if handler is not None:
                self.messages += 1
                try:
                    handler(payload)
                except Exception as error:
                    self._count(error)
        elif not self._subscriptions.confirm(channel) and kind == b"sunsubscribe" and self._link:
            log.warning("bus_slot_moved")
            self._link.close()

    def _message(self, payload: bytes) -> None:
        if self._held is not None:
            self._hold(payload)
        elif payload[-OFFSET_BYTES:] != self._last:  # else: on the channel of another of its rooms
            broadcast = decode_broadcast(payload)
            if broadcast.offset > self._epoch_end:
                self.gap("epoch")
            else:
                self._deliver(broadcast)

    def _others(self, payload: bytes) -> None:
        """What ours say there, too (REDIS_CLASSIC_OUT), has come by the slot."""
        if not is_ours(payload):
            self._message(payload)

    def _hold(self, payload: bytes) -> None:
        assert self._held is not None
        self._held.append(payload)
        if len(self._held) > HELD_AT_MOST and self._link is not None:
            self._held.clear()
            self._link.close()

    def _deliver(self, broadcast: Broadcast) -> None:
        if broadcast.offset:
            self._last = broadcast.offset.encode()
            self._handed.append(broadcast.offset)
            self.position = max(self.position, broadcast.offset)
        try:
            self._local.deliver(broadcast)
        except Exception as error:
            self._count(error)

    def _decoded(self, payload: bytes) -> Broadcast | None:
        try:
            return decode_broadcast(payload)
        except WireError as error:
            self._count(error)
            return None

    def _count(self, error: Exception) -> None:
        """One bad message must not end the reader."""
        if isinstance(error, ForeignWire):
            self.malformed += 1
            if str(error) not in self._foreign:
                self._foreign.add(str(error))
                log.warning("bus_peer_not_understood", why=str(error))
        elif isinstance(error, ValueError):
            self.malformed += 1
            log.warning("bus_malformed", error=str(error) if isinstance(error, WireError) else "")
        else:
            self.failed += 1
            log.error("bus_handler_failed", exc_info=error)
