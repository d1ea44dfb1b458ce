"""The figures of the engine and the bus, as metrics."""

from collections.abc import Iterator
from functools import partial

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from hub.engine import Server
from hub.plumbing.telemetry.metrics import ACTIVE_CONNECTIONS, REDIS_CONNECTED, REGISTRY
from hub.sockets.context import Node


class Gauges(Collector):
    """The engine's figures; live sockets and the bus stand in the house's own gauges."""

    def __init__(self, node: Node) -> None:
        self._engine = node.server.collector()
        for namespace in node.namespaces:
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
