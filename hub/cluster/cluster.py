"""One node among the others: everything it says to Redis and hears from it."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog
from redis.exceptions import RedisError

from hub.cluster.bus import Bus
from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.local import Local, Rooms
from hub.cluster.log import Log
from hub.cluster.presence import PRESENCE_TTL, Presence
from hub.cluster.pulse import Pulse
from hub.cluster.python_peers import hear_python
from hub.cluster.recovery import Recovery
from hub.cluster.requests import Requests
from hub.cluster.server import Server
from hub.cluster.sessions import Sessions
from hub.plumbing.life.lasting import Lasting
from protocol.names import NAMESPACES, PYTHON_SOCKETIO_CHANNEL, Channels, Keys

RENEW_EVERY: Final = 25.0
"""s between renewals of the leases: three fit in PRESENCE_TTL."""

RENEW_AGAIN: Final = 1.0
"""s after one that failed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Every node of a cluster has the same `keys` and `channels`. Times in s; `node` without
    blanks. `drain` is called when somebody orders the node to end.
    """

    server: Server
    keys: Keys = field(default_factory=Keys)
    channels: Channels = field(default_factory=Channels)
    namespaces: tuple[str, ...] = NAMESPACES
    limits: LogLimits = field(default_factory=LogLimits)
    classic_out: bool = False
    wait: int = 0
    lag_limit: float = 2.0
    presence_ttl: int = PRESENCE_TTL
    per_user: int = 10
    renew_every: float = RENEW_EVERY
    node: str = field(default_factory=lambda: secrets.token_hex(6))
    drain: Callable[[], None] = lambda: None


class Cluster:
    """`local` are the sockets of this node. Whoever holds them calls `bus.join` and `bus.leave`
    for the first and the last member of a room.
    """

    def __init__(self, options: ClusterOptions, local: Local):
        keys, channels, node = options.keys, options.channels, options.node
        self.node = node
        self._local = local
        self.line = Line(options.server, f"{node}-line")
        self._publishing = self.line
        if options.wait:
            self._publishing = Line(options.server, f"{node}-publish", replicas=options.wait)
        self.emitter = Emitter(
            self._publishing, keys, channels, options.limits, classic_out=options.classic_out
        )
        self.presence = Presence(
            self.line, keys, node, ttl=options.presence_ttl, per_user=options.per_user
        )
        self.sessions = Sessions(
            self.line, keys, node, window=options.limits.window, ttl=options.presence_ttl
        )
        logs = Log(self.line, keys, options.limits)
        self.bus = Bus(
            options.server,
            logs,
            channels,
            local,
            name=f"{node}-bus",
            lag_limit=options.lag_limit,
            resumed=self._resumed,
            lost=self._lose,
        )
        self.pulse = Pulse(
            self.line,
            keys,
            node,
            heard=self.bus.heard,
            unbroken=self.bus.unbroken,
            gap=self.bus.gap,
            evict=local.evict,
            drain=options.drain,
        )
        self.bus.pulse = self.pulse
        self.recovery = Recovery(logs, self.bus, self.pulse)
        self.requests = Requests(self.line, channels, local)
        self._listen(options, local)
        self._namespaces = options.namespaces
        self._stranger = False
        self._renew_every = options.renew_every
        self._leaseless = Lasting(log, "leases_not_renewed", "leases_renewed_again")
        self._due = asyncio.Event()
        self._known = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    def _listen(self, options: ClusterOptions, local: Local) -> None:
        self.bus.listen(self.pulse.channel, self.pulse.hear)
        self.bus.listen(PYTHON_SOCKETIO_CHANNEL, partial(hear_python, local))
        for namespace in options.namespaces:
            self.bus.serve(namespace)
            for channel, handler in self.requests.channels(namespace).items():
                self.bus.listen(channel, handler)

    async def start(self) -> None:
        """Returns when it listens and is known as a node; tries until Redis is there."""
        await self.bus.start()
        self._renewing = asyncio.create_task(self._renew())
        await self._known.wait()

    async def stop(self) -> None:
        """Takes the node's people out of presence; sessions stay for their clients."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            await self.presence.clear()
        except RedisError as error:  # the leases end by themselves
            log.warning("presence_not_cleared", error=type(error).__name__)
        await self.bus.stop()
        self.requests.close()
        await self._publishing.close()
        await self.line.close()

    def _resumed(self) -> None:
        """Redis may have come back empty: leases are written anew at once."""
        self._due.set()

    async def _lose(self, namespace: str, rooms: Rooms) -> None:
        """Their sessions end first: however quick they return, they hear `recovered: false`."""
        await self.sessions.forget(namespace, rooms)
        self._local.lost(namespace, rooms)

    async def _renew(self) -> None:
        while True:
            self._due.clear()
            pause = self._renew_every if await self._renewed() else RENEW_AGAIN
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def _look_for_strangers(self) -> None:
        """Once, when it is seen: such a server takes part in nothing, and nothing else says so."""
        if self._stranger:
            return
        count = await self.requests.sharded_peers(self._namespaces)
        if count:
            self._stranger = True
            log.warning(
                "bus_peer_not_understood",
                why="a server speaks the sharded Redis adapter; only the classic one is heard here",
                servers=count,
            )

    async def _renewed(self) -> bool:
        try:
            await self.presence.renew()
            await self.sessions.renew()
            await self._look_for_strangers()
        except RedisError as error:
            self._leaseless.seen(error=type(error).__name__)
            return False
        except Exception:  # whatever it is, a node without leases is a ghost
            self._leaseless.seen(exc_info=True)
            return False
        self._leaseless.over()
        self._known.set()
        return True
