"""The door by socket: opened with a process, told when it is ready, drained when it ends."""

import asyncio
import secrets
from typing import Final

import structlog
from aiohttp import web
from redis.exceptions import RedisError

from hub.cluster.bus import Bus
from hub.cluster.emitter import LogLimits
from hub.cluster.line import Line
from hub.cluster.log import Log
from hub.cluster.presence import Presence
from hub.cluster.pulse import Pulse
from hub.cluster.recovery import Recovery
from hub.cluster.requests import Requests
from hub.cluster.sessions import Sessions
from hub.domain.context import Domain
from hub.domain.opening import redis_server
from hub.engine import Member
from hub.engine.wheel import Wheel
from hub.plumbing.health import Check
from hub.plumbing.lifecycle import Lifecycle
from hub.plumbing.limits import Limits
from hub.plumbing.metrics import REGISTRY
from hub.plumbing.settings import Settings
from hub.plumbing.telemetry import AccessLog
from hub.sockets import repair, rooms, server
from hub.sockets.local import LocalSockets
from hub.sockets.node import NAMESPACE, Guest, Node, Order, guest_of, left_of
from protocol.events import ServerShutdown
from protocol.names import Channels

EXPIRY_TICK_S: Final = 1.0
STOP_RESERVE_S: Final = 5.0
"""What the drain leaves of SHUTDOWN_TIMEOUT for everything that stops after it."""

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
    line = Line(redis_server(settings), "dongne-hub")
    life.on_stop("hub line", line.close)
    node = _node(settings, domain, line)
    server.attach(node)
    await node.bus.start()
    life.on_stop("bus", node.bus.stop)
    await node.presence.renew()
    life.on_stop("presence", lambda: _clear(node))
    life.spawn("orders", rooms.obey_orders(node))
    life.spawn("heartbeat", repair.beat(node))
    figures = server.Figures(node)
    REGISTRY.register(figures)
    life.on_stop("figures", figures.close)
    return Door(life, settings, node)


def _node(settings: Settings, domain: Domain, line: Line) -> Node:
    part, sockets = settings.redis, settings.sockets
    id = secrets.token_hex(8)
    keys, channels = domain.keys, Channels(part.adapter_key)
    limits = LogLimits(part.recovery_window_s, part.recovery_events)
    engine = server.open_server(settings)
    guests: dict[str, Member] = {}
    orders: asyncio.Queue[Order] = asyncio.Queue()
    local = LocalSockets(engine, guests, orders)
    logs = Log(line, keys, limits)
    bus = Bus(redis_server(settings), logs, channels, local, lag_limit=part.bus_lag_limit_s)
    bus.pulse = Pulse(line, keys, id, heard=bus.heard, evict=local.evict)
    bus.listen(bus.pulse.channel, bus.pulse.hear)
    requests = Requests(line, channels, local)
    for channel, handler in requests.channels(NAMESPACE).items():
        bus.listen(channel, handler)
    bus.serve(NAMESPACE)
    ttl = sockets.presence_ttl_s
    return Node(
        id=id,
        domain=domain,
        server=engine,
        bus=bus,
        presence=Presence(line, keys, id, ttl=ttl, per_user=sockets.max_per_user),
        sessions=Sessions(line, keys, id, window=part.recovery_window_s, ttl=ttl),
        recovery=Recovery(logs, bus, bus.pulse),
        requests=requests,
        limits=Limits(domain.redis, keys),
        figures=sockets,
        access=AccessLog(settings.process.access_log),
        guests=guests,
        orders=orders,
        expiries=Wheel(EXPIRY_TICK_S, engine.cut),
    )


async def _clear(node: Node) -> None:
    node.expiries.close()
    for task in tuple(node.tasks):
        task.cancel()
    try:
        await node.presence.clear()
    except RedisError as error:  # the leases end by themselves
        log.warning("presence was not cleared", kind=type(error).__name__)
