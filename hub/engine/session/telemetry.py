"""Plain counters on the hot path, read by Prometheus when it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Counters:
    """What one node's engine has done since its start."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "closed",
        "dropped",
        "frames_in",
        "frames_out",
        "loop_lag",
        "opened",
        "refused",
        "rejected",
    )

    def __init__(self) -> None:
        self.frames_in = self.frames_out = 0
        self.bytes_in = self.bytes_out = 0
        self.opened: dict[str, int] = {"websocket": 0, "polling": 0, "upgrade": 0}
        self.refused: dict[str, int] = {}
        self.closed: dict[str, int] = {}
        self.rejected: dict[str, int] = {}
        self.dropped: dict[str, int] = {"volatile": 0}
        self.loop_lag = 0.0


def count(table: dict[str, int], label: str, by: int = 1) -> None:
    table[label] = table.get(label, 0) + by


class EngineCollector(Collector):
    """Prometheus families of one engine; `members` gives live members by namespace,
    `backlog` the bytes waiting for all connections."""

    def __init__(
        self,
        counters: Counters,
        members: Callable[[], dict[str, int]],
        backlog: Callable[[], int],
    ) -> None:
        self._counters = counters
        self._members = members
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        c = self._counters
        yield _gauge("active_connections", "Live sockets", "namespace", self._members())
        yield _counter("engine_opened", "Sessions opened", "transport", c.opened)
        yield _counter("engine_refused", "Handshakes refused", "reason", c.refused)
        yield _counter("engine_closed", "Sessions closed", "reason", c.closed)
        yield _counter("engine_rejected", "Malformed input", "fault", c.rejected)
        yield _counter("engine_dropped", "Events dropped", "class", c.dropped)
        slow = c.closed.get("slow consumer", 0)
        yield CounterMetricFamily(
            "engine_slow_consumers", "Connections closed for not reading", value=slow
        )
        frames = {"in": c.frames_in, "out": c.frames_out}
        yield _counter("engine_frames", "WebSocket frames", "direction", frames)
        octets = {"in": c.bytes_in, "out": c.bytes_out}
        yield _counter("engine_bytes", "Bytes of WebSocket frames", "direction", octets)
        yield GaugeMetricFamily(
            "engine_backlog_bytes", "Bytes waiting for slow readers", value=self._backlog()
        )
        yield GaugeMetricFamily(
            "engine_loop_lag_seconds", "Latest lateness of the loop", value=c.loop_lag
        )


def _counter(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
