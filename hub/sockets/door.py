"""The door by socket: opened with a process, told when it is ready, drained when it ends."""

import asyncio
import os
import secrets
import socket
from typing import Final

import structlog
from aiohttp import web
from redis.exceptions import RedisError

from hub.cluster.cluster import Cluster, ClusterOptions
from hub.cluster.emitter import LogLimits
from hub.domain.context import Domain
from hub.domain.opening import redis_server
from hub.engine import Member
from hub.engine.wheel import Wheel
from hub.plumbing.http.health import Check
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores import redis_client
from hub.plumbing.telemetry.logs import AccessLog
from hub.plumbing.telemetry.metrics import REGISTRY
from hub.sockets import presence, repair, rooms, server
from hub.sockets.local import LocalSockets
from hub.sockets.logins import Logins
from hub.sockets.node import SERVED, Guest, Node, Order, guest_of, left_of
from protocol.events import ServerShutdown
from protocol.names import Channels

EXPIRY_TICK_S: Final = 1.0
STOP_RESERVE_S: Final = 5.0
"""What the drain leaves of SHUTDOWN_TIMEOUT for everything that stops after it."""

RENEWALS: Final = 3
"""Of a lease within PRESENCE_TTL."""

TELLING_S: Final = 1
"""Leases end so much before PRESENCE_TTL, as the other nodes look once a second: after a node has
died, counts are right and told within PRESENCE_TTL."""

DRAIN_SHARE: Final = 0.8
"""Of DRAIN_RATE: stock clients wait 0.5 to 1.5 s at random, so some seconds see more of them."""

log = structlog.get_logger(__name__)


class Door:
    """`needed` and `reported` are checks for hub.plumbing.health.examine."""

    def __init__(self, life: Lifecycle, settings: Settings, node: Node) -> None:
        self.node = node
        self._life = life
        self._settings = settings

    @property
    def needed(self) -> dict[str, Check]:
        return {"redis": self._redis}

    @property
    def reported(self) -> dict[str, Check]:
        return {"database": self._database}

    async def _redis(self) -> None:
        if not self.node.bus.ready:
            raise ConnectionError("the bus does not listen, or is late")
        await redis_client.probe(self.node.domain.redis, self.node.domain.keys.probe)

    async def _database(self) -> None:
        await self.node.domain.pool.fetchval("SELECT 1", timeout=2)

    async def start(self, host: str, port: int, app: web.Application | None = None) -> int:
        """Listen for sockets, and for `app` (health, console) on the same port; the port bound.

        Drained and closed with the process. Raises OSError.
        """
        bound = await self.node.server.listen(
            host,
            port,
            app,
            ssl=server.tls(self._settings.web),
            reuse_port=self._settings.sockets.hub_processes > 1,
        )
        self._life.on_stop("sockets", self.drain)
        return bound

    async def drain(self) -> None:
        """Refuse what is new, tell every socket when it will be closed, close them in that order.

        The surviving nodes together see at most DRAIN_RATE connects a second each.
        """
        node = self.node
        process = self._settings.process
        timeout_s = process.shutdown_timeout_ms / 1000 - process.drain_pause_s
        seconds = max(timeout_s - STOP_RESERVE_S, timeout_s / 4)
        each = self._settings.sockets.drain_rate * DRAIN_SHARE
        rate = each * max(1, await self._survivors())
        closed = await node.server.drain(rate, seconds, self._tell)
        log.info("sockets drained", sockets=closed)
        await self._left()
        await node.server.close()

    async def _survivors(self) -> int:
        try:
            return len([name for name in await self.node.presence.nodes() if name != self.node.id])
        except RedisError:
            return 1

    def _tell(self, member: Member, after_ms: int) -> None:
        if isinstance(member.data, Guest):
            message = ServerShutdown(reason="shutting down", reconnect_after_ms=after_ms)
            self.node.send(member, "server:shutdown", message)

    async def _left(self) -> None:
        """Until every farewell has been said, so that no lease and no count stays."""
        left = [left_of(guest_of(member)) for member in self.node.guests.values()]
        if left:
            await asyncio.wait(left, timeout=STOP_RESERVE_S / 2)


async def open_hub(life: Lifecycle, settings: Settings, domain: Domain) -> Door:
    """Assemble the node and listen to the cluster; returns once Redis has confirmed.

    Everything stops with the process. Call `start` on what it gives.
    """
    engine = server.open_server(settings)
    guests: dict[str, Member] = {}
    orders: asyncio.Queue[Order] = asyncio.Queue()
    options = _options(life, settings, domain)
    cluster = Cluster(options, LocalSockets(engine, guests, orders))
    node = Node(
        id=cluster.node,
        domain=domain,
        server=engine,
        bus=cluster.bus,
        presence=cluster.presence,
        sessions=cluster.sessions,
        recovery=cluster.recovery,
        requests=cluster.requests,
        limits=Limits(domain.redis, domain.keys),
        logins=Logins(settings.sockets.max_per_ip, settings.sockets.max_per_user),
        figures=settings.sockets,
        access=AccessLog(settings.process.access_log),
        guests=guests,
        orders=orders,
        expiries=Wheel(EXPIRY_TICK_S, engine.cut),
    )
    server.attach(node)
    life.on_stop("cluster", cluster.stop)
    await cluster.start()
    life.on_stop("node", node.close)
    life.spawn("orders", rooms.obey_orders(node))
    life.spawn("repair", repair.mend_stale(node))
    life.spawn("presence", presence.tell(node))
    figures = server.Figures(node)
    REGISTRY.register(figures)
    life.on_stop("figures", figures.close)
    return Door(life, settings, node)


def _options(life: Lifecycle, settings: Settings, domain: Domain) -> ClusterOptions:
    redis, sockets = settings.redis, settings.sockets
    return ClusterOptions(
        redis_server(settings),
        domain.keys,
        Channels(redis.adapter_key),
        namespaces=SERVED,
        limits=LogLimits(redis.recovery_window_s, redis.recovery_events),
        lag_limit=redis.bus_lag_limit_s,
        presence_ttl=max(1, sockets.presence_ttl_s - TELLING_S),
        per_user=sockets.max_per_user,
        renew_every=sockets.presence_ttl_s / RENEWALS,
        node=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        drain=life.stop,
    )
