"""The door by socket, put together: a node that listens to the cluster and to its sockets."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from time import monotonic
from typing import Final

from aiohttp import web

from hub.cluster.cluster import Cluster, ClusterOptions
from hub.cluster.emitter import LogLimits
from hub.domain.arrival import arrive
from hub.domain.assembly import open_limits, redis_server
from hub.domain.chat import open_talk
from hub.domain.context import Domain
from hub.domain.questions import nearby
from hub.domain.rooms import still_open
from hub.engine import Handshake, Member, Refusal, Wheel
from hub.plumbing.http.health import Check
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.life.together import Together
from hub.plumbing.limits.fleet import Verdict, Window
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores import redis_client
from hub.plumbing.telemetry.logs import AccessLog
from hub.plumbing.telemetry.metrics import REGISTRY
from hub.sockets import admin_page, admission, orders, presence, token_life, whereabouts
from hub.sockets.acks import Acks
from hub.sockets.context import Node, Order
from hub.sockets.drain import announce, drain
from hub.sockets.engine_settings import open_server, tls
from hub.sockets.from_cluster import LocalSockets
from hub.sockets.gate import REFUSED_AT_MOST, Gate
from hub.sockets.gauges import Gauges
from hub.sockets.logins import Logins
from hub.sockets.namespaces import SERVED
from hub.sockets.revocations import Revocations
from protocol.errors import Code, HubError
from protocol.events import CLIENT_EVENTS, ClientEvent
from protocol.names import Channels, room_kind

EXPIRY_TICK_S: Final = 1.0
RENEWALS: Final = 3
"""Of a lease within PRESENCE_TTL."""

TELLING_S: Final = 1
"""Leases end so much before PRESENCE_TTL, as the other nodes look once a second: after a node has
died, counts are right and told within PRESENCE_TTL."""

PATIENCE_S: Final = 10
"""For so long a node of a cluster stays ready without its master: node-timeout 3 s, the election,
and some to listen again."""

PLACES_AT_ONCE: Final = 20
"""Whose open questions are asked for together: the cells around each may have to be worked out, 2
ms."""

PEOPLE_AT_ONCE: Final = 100
"""Who is let in at once; of a thousand that come back, those behind them wait for their turn, so
that each has a part of this node and not all of it: who waits for as long as CONNECT_TIMEOUT is
closed, and would have to begin anew.
"""

REDIS_AWAY: Final = Refusal("redis_away", 2)
"""Nobody's token can be checked, and no room be joined: come back."""


class Door:
    """`needed` and `reported` are checks for hub.plumbing.http.health.examine."""

    def __init__(self, life: Lifecycle, settings: Settings, node: Node) -> None:
        self.node = node
        self._life = life
        self._settings = settings
        self._well_at = float("-inf")

    @property
    def needed(self) -> dict[str, Check]:
        return {"redis": self._redis}

    @property
    def reported(self) -> dict[str, Check]:
        return {"database": self._database}

    async def _redis(self) -> None:
        """Where a cluster replaces a master, all nodes lose it at once: were none of them ready,
        nobody would be led anywhere, and each says for itself to new sockets that it is away.
        """
        try:
            if not self.node.bus.ready:
                raise ConnectionError("the bus does not listen, or is late")
            await redis_client.probe(self.node.domain.redis, self.node.domain.keys.probe)
        except (ConnectionError, *redis_client.AWAY):
            if self._settings.redis.slot and monotonic() - self._well_at < PATIENCE_S:
                return
            raise
        self._well_at = monotonic()

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
            ssl=tls(self._settings.web),
            reuse_port=self._settings.sockets.hub_processes > 1,
        )
        self._life.on_stop("sockets", self.drain)
        return bound

    async def drain(self) -> None:
        """End its sockets as the end of the process does."""
        await drain(self.node, self._settings)


async def open_hub(life: Lifecycle, settings: Settings, domain: Domain) -> Door:
    """Assemble the node and listen to the cluster; returns once Redis has confirmed.

    Everything stops with the process. Call `start` on what it gives.
    """
    engine = open_server(settings)
    guests: dict[str, Member] = {}
    queue: asyncio.Queue[Order] = asyncio.Queue()
    options = _options(life, settings, domain)
    revocations = Revocations(domain, engine, guests)
    cluster = Cluster(options, LocalSockets(engine, guests, queue, revocations.heard))
    node = Node(
        id=cluster.node,
        namespaces=SERVED,
        domain=domain,
        server=engine,
        bus=cluster.bus,
        emitter=cluster.emitter,
        presence=cluster.presence,
        sessions=cluster.sessions,
        recovery=cluster.recovery,
        requests=cluster.requests,
        limits=open_limits(life, settings),
        acks=Acks(domain),
        talk=open_talk(domain),
        arrivals=Together(partial(arrive, domain), _is_away, most=PEOPLE_AT_ONCE),
        still_open=Together(partial(still_open, domain), _is_away, most=PEOPLE_AT_ONCE),
        open_in=Together(partial(nearby.open_in, domain), _is_away, most=PLACES_AT_ONCE),
        admitting=asyncio.Semaphore(PEOPLE_AT_ONCE),
        logins=Logins(settings.sockets.max_per_ip, settings.sockets.max_per_user),
        figures=settings.sockets,
        access=AccessLog(settings.process.access_log),
        guests=guests,
        orders=queue,
        expiries=Wheel(EXPIRY_TICK_S, lambda member: token_life.due(node, member)),
        expiring_lead_s=settings.auth.expiring_lead_s,
        expired_grace_s=settings.auth.expired_grace_s,
        revocations=revocations,
    )
    _attach(node)
    life.on_stop("cluster", cluster.stop)
    await cluster.start()
    life.on_stop("node", node.close)
    life.spawn("orders", orders.obey_orders(node))
    life.spawn("departure", announce(node, life.stopping))
    life.spawn("repair", whereabouts.mend_stale(node))
    life.spawn("presence", presence.tell(node))
    if settings.sockets.admin_page:
        admin_page.open_to_admins(engine)
        life.spawn("admin page", admin_page.tell(node))
    gauges = Gauges(node)
    REGISTRY.register(gauges)
    life.on_stop("gauges", gauges.close)
    return Door(life, settings, node)


def _is_away(error: Exception) -> bool:
    """Whether it says nothing of those who were asked for."""
    return isinstance(error, HubError) and error.code == Code.UNAVAILABLE


def _options(life: Lifecycle, settings: Settings, domain: Domain) -> ClusterOptions:
    redis, sockets = settings.redis, settings.sockets
    return ClusterOptions(
        redis_server(settings),
        domain.keys,
        Channels(redis.adapter_key, redis.slot),
        namespaces=tuple(SERVED),
        limits=LogLimits(redis.recovery_window_s, redis.recovery_events),
        classic_out=redis.classic_out,
        wait=redis.wait,
        lag_limit=redis.bus_lag_limit_s,
        presence_ttl=max(1, sockets.presence_ttl_s - TELLING_S),
        per_user=sockets.max_per_user,
        renew_every=sockets.presence_ttl_s / RENEWALS,
        node=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        drain=life.stop,
    )


def _attach(node: Node) -> None:
    """Hang everything of this door on the server."""
    server = node.server
    server.hooks.admit = admission.hook(node)
    server.hooks.ended = node.logins.ended
    for namespace in node.namespaces:
        server.on("disconnect", _disconnected(node, namespace), namespace=namespace)
    _open_gate(node)
    server.on_rooms(partial(_opened, node), partial(_emptied, node))

    def refuse(handshake: Handshake) -> Refusal | None:
        return node.logins.refusal(handshake) if node.bus.ready else REDIS_AWAY

    server.refuse(refuse)


def _open_gate(node: Node) -> None:
    figures = node.figures
    most = {"default": figures.rate_max, "chat": figures.chat_rate_max}
    windows = {
        name: Window(f"socket_{name}", limit, figures.rate_window_ms)
        for name, limit in most.items()
    }

    async def check(event: ClientEvent, user_id: str) -> Verdict:
        """A person's limit holds over all nodes; chat has its own."""
        return await node.limits.check(windows[event.limit], user_id)

    gate = Gate(node.server, check, node.access, max(REFUSED_AT_MOST, figures.rate_max))
    for namespace in node.namespaces.values():
        for name, handler in namespace.handlers.items():
            gate.add(CLIENT_EVENTS[namespace.name, name], partial(handler, node))
        gate.close(namespace.name)


def _opened(node: Node, namespace: str, room: Hashable) -> None:
    """The first member of a room is here."""
    name = str(room)
    node.bus.join(namespace, name)
    if room_kind(name) in node.namespaces[namespace].told:
        node.told[namespace, name] = set()


def _emptied(node: Node, namespace: str, room: Hashable) -> None:
    node.bus.leave(namespace, str(room))
    node.told.pop((namespace, str(room)), None)


def _disconnected(node: Node, namespace: str) -> Callable[[str, str], Awaitable[None]]:
    async def disconnected(sid: str, reason: str) -> None:
        member = node.server.member(sid, namespace)
        if member is not None:
            await admission.farewell(node, member, reason)

    return disconnected
