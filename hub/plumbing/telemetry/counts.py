"""Counts of what every event of a client, every request and every read of a cache passes.

The loop's thread alone counts here, so without the locks of the library's own counters: a fifth of
their cost (measured).
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Family(NamedTuple):
    """Name (a counter's without `_total`), what it counts, labels."""

    name: str
    documentation: str
    labels: tuple[str, ...]


class Counts(Collector):
    """A counter by its labels."""

    def __init__(self, family: Family) -> None:
        self.family: Final = family
        self._counts: dict[tuple[str, ...], int] = {}

    def count(self, *labels: str) -> None:
        """One more. Each label is of a closed list (S1-45)."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[Metric]:
        counter = CounterMetricFamily(*self.family[:2], labels=self.family.labels)
        for labels, count in list(self._counts.items()):
            counter.add_metric(labels, count)
        yield counter


class TimedCounts(Collector):
    """A counter, and a histogram of the seconds that the same things took, by its labels or the
    first of them."""

    def __init__(self, bounds: tuple[float, ...], counter: Family, duration: Family) -> None:
        self._bounds: Final = bounds
        self.counter: Final = counter
        self.duration: Final = duration
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._seconds: dict[tuple[str, ...], float] = {}

    def count(self, labels: tuple[str, ...], seconds: float) -> None:
        """One more. All labels of the counter, each of a closed list (S1-45)."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._seconds[labels] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds[labels] += seconds

    def collect(self) -> Iterator[Metric]:
        counter = CounterMetricFamily(*self.counter[:2], labels=self.counter.labels)
        durations = HistogramMetricFamily(*self.duration[:2], labels=self.duration.labels)
        known = len(self.duration.labels)
        by_labels: dict[tuple[str, ...], tuple[list[int], float]] = {}
        for labels, counts in list(self._counts.items()):
            counter.add_metric(labels, sum(counts))
            sums, seconds = by_labels.get(labels[:known], ([0] * len(counts), 0.0))
            sums = [a + b for a, b in zip(sums, counts, strict=True)]
            by_labels[labels[:known]] = sums, seconds + self._seconds[labels]
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, (sums, seconds) in by_labels.items():
            buckets = list(zip(bounds, accumulate(sums), strict=True))
            durations.add_metric(labels, buckets, seconds)
        yield counter
        yield durations


class UnderWay:
    """How many there are now, for a gauge that asks."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def count(self) -> float:
        return self.now
