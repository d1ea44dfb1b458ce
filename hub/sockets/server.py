"""The engine's server as the settings say, with the gate in front of its events."""

import ssl
from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import partial

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from hub.engine import Handshake, Options, Refusal, Server
from hub.plumbing.limits.fleet import Verdict, Window
from hub.plumbing.settings.process import Web
from hub.plumbing.settings.product import Sockets
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.metrics import ACTIVE_CONNECTIONS, REDIS_CONNECTED, REGISTRY
from hub.sockets import admission, main, presence, streaming
from hub.sockets.gate import REFUSED_AT_MOST, Gate
from hub.sockets.node import SERVED, Node
from protocol.events import CLIENT_EVENTS, ClientEvent

REDIS_AWAY = Refusal("redis_away", 2)
"""Nobody's token can be checked, and no room be joined: come back."""


def options(sockets: Sockets, web: Web) -> Options:
    return Options(
        ping_interval=sockets.ping_interval_ms / 1000,
        ping_timeout=sockets.ping_timeout_ms / 1000,
        connect_timeout=sockets.connect_timeout_s,
        max_payload=sockets.max_payload_bytes,
        backlog_low=sockets.backlog_low,
        backlog_high=sockets.backlog_high,
        conn_max_node=sockets.max_per_node,
        conn_max_ip=sockets.max_per_ip,
        accept_rate=sockets.accept_rate,
        trust_proxy=web.trust_proxy,
        keep_request=False,
        cors_origins="*" if "*" in web.cors_origins else web.cors_origins,
        transports=sockets.transports,
    )


def open_server(settings: Settings) -> Server:
    return Server(options(settings.sockets, settings.web))


def attach(node: Node) -> None:
    """Hang everything of this door on the server."""
    server = node.server
    server.admit = admission.hook(node)
    server.ended = node.logins.ended
    for namespace in SERVED:
        server.on("disconnect", _disconnected(node, namespace), namespace=namespace)
    open_gate(node)
    server.on_rooms(partial(_opened, node), partial(_emptied, node))

    def refuse(handshake: Handshake) -> Refusal | None:
        return node.logins.refusal(handshake) if node.bus.ready else REDIS_AWAY

    server.refuse(refuse)


def open_gate(node: Node) -> None:
    figures = node.figures

    async def check(event: ClientEvent, user_id: str) -> Verdict:
        """A person's limit holds over all nodes; chat has its own."""
        most = figures.chat_rate_max if event.limit == "chat" else figures.rate_max
        window = Window(f"socket_{event.limit}", most, figures.rate_window_ms)
        return await node.limits.check(window, user_id)

    gate = Gate(node.server, check, node.access, max(REFUSED_AT_MOST, figures.rate_max))
    for name, handler in {**main.HANDLERS, **streaming.HANDLERS}.items():
        gate.add(CLIENT_EVENTS[name], partial(handler, node))
    for namespace in SERVED:
        gate.close(namespace)


def _opened(node: Node, namespace: str, room: Hashable) -> None:
    """The first member of a room is here."""
    name = str(room)
    node.bus.join(namespace, name)
    if presence.is_told(namespace, name):
        node.told[namespace, name] = None


def _emptied(node: Node, namespace: str, room: Hashable) -> None:
    node.bus.leave(namespace, str(room))
    node.told.pop((namespace, str(room)), None)


def _disconnected(node: Node, namespace: str) -> Callable[[str, str], Awaitable[None]]:
    async def disconnected(sid: str, reason: str) -> None:
        member = node.server.member(sid, namespace)
        if member is not None:
            await admission.farewell(node, member, reason)

    return disconnected


def tls(web: Web) -> ssl.SSLContext | None:
    if web.tls_cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(web.tls_cert_file, web.tls_key_file)
    return context


class Figures(Collector):
    """The engine's figures; live sockets and the bus stand in the house's own gauges."""

    def __init__(self, node: Node) -> None:
        self._engine = node.server.collector()
        for namespace in SERVED:
            ACTIVE_CONNECTIONS.labels(namespace=namespace).set_function(
                partial(_live, node.server, namespace)
            )
        REDIS_CONNECTED.labels(client="bus").set_function(lambda: node.bus.ready)

    def collect(self) -> Iterator[Metric]:
        return (one for one in self._engine.collect() if one.name != "active_connections")

    async def close(self) -> None:
        REGISTRY.unregister(self)
        ACTIVE_CONNECTIONS.clear()
        REDIS_CONNECTED.labels(client="bus").set_function(lambda: 0)


def _live(engine: Server, namespace: str) -> int:
    return engine.live().get(namespace, 0)
