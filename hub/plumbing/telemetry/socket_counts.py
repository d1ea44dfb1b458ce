"""Counts of the gate, which every event of a client passes.

The loop's thread alone counts here, so without the locks of the library's own counters: a fifth of
their cost (measured).
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class SocketEvents(Collector):
    """`socket_events_total` by namespace, event and outcome (ok or an error code), and
    `socket_event_duration_seconds` by namespace and event."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds: Final = bounds
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str, str], float] = {}

    def count(self, namespace: str, event: str, outcome: str, seconds: float) -> None:
        """One event, from its arrival to its acknowledgement. All three names are of closed lists
        (S1-45)."""
        key = namespace, event, outcome
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0] * (len(self._bounds) + 1)
            self._seconds[key] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds[key] += seconds

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "socket_events",
            "Events of clients, by how they were acknowledged: ok or an error code.",
            labels=["namespace", "event", "outcome"],
        )
        durations = HistogramMetricFamily(
            "socket_event_duration_seconds",
            "From an event's arrival to its acknowledgement.",
            labels=["namespace", "event"],
        )
        by_event: dict[tuple[str, str], tuple[list[int], float]] = {}
        for key, counts in list(self._counts.items()):
            events.add_metric(key, sum(counts))
            sums, seconds = by_event.get(key[:2], ([0] * len(counts), 0.0))
            sums = [a + b for a, b in zip(sums, counts, strict=True)]
            by_event[key[:2]] = sums, seconds + self._seconds[key]
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for event, (sums, seconds) in by_event.items():
            buckets = list(zip(bounds, accumulate(sums), strict=True))
            durations.add_metric(event, buckets, seconds)
        yield events
        yield durations
