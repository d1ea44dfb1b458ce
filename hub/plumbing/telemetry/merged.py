"""The metrics of several processes as one exposition.

Counters, histograms and summaries are added up. Of gauges those that count things are added up,
too; `JUDGED` names those of which the worst or the first one is meant. `_created` times are left
out: a sum was made at no time.

A process that ends takes no counts along: what it was last heard to have counted stays in the sum,
so that no counter of the sum goes backwards while the parent lives. (Prometheus would take a
decrease for a restart at 0 and count the whole rest of the sum anew.) What it counted after that
was never shown and is lost. When the parent starts anew all counters do, which Prometheus reads
right, as a reset.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name of a sample and its labels."""

COUNTED: Final = ("counter", "histogram", "summary")

JUDGED: Final[dict[str, Callable[[float, float], float]]] = {
    "_info": max,
    "_lag_seconds": max,
    "breaker_state": max,
    "limits_alone": max,
    "outbox_unpublished": max,
    "process_start_time_seconds": min,
    "queue_depth": max,
    "redis_connected": min,
}
"""By the end of the name: gauges of which every process tells the same thing, or the worst is to be
known. 1 from `redis_connected` means that all processes are."""


@dataclass(slots=True)
class Family:
    name: str
    text: str
    type: str
    samples: dict[Key, float] = field(default_factory=dict)

    @property
    def combine(self) -> Callable[[float, float], float]:
        if self.type not in COUNTED:
            for ending, judge in JUDGED.items():
                if self.name.endswith(ending):
                    return judge
        return float.__add__


Families = dict[str, Family]


def parse(text: str) -> Families:
    """What one process said. Raises ValueError for what is no exposition."""
    families: Families = {}
    for metric in text_string_to_metric_families(text):
        if metric.name.endswith("_created"):
            continue
        samples = {
            (s.name, tuple(sorted(s.labels.items()))): float(s.value) for s in metric.samples
        }
        families[metric.name] = Family(metric.name, metric.documentation, metric.type, samples)
    return families


def merge(sources: Iterable[Families]) -> Families:
    whole: Families = {}
    for source in sources:
        for name, family in source.items():
            into = whole.setdefault(name, Family(name, family.text, family.type))
            combine = into.combine
            for key, value in family.samples.items():
                known = into.samples.get(key)
                into.samples[key] = value if known is None else combine(known, value)
    return whole


def counts(families: Families) -> Families:
    """Only what may not go backwards."""
    return {name: family for name, family in families.items() if family.type in COUNTED}


class Sum(Collector):
    """The sum of this process (`own`) and of others, named by their pids; for generate_latest."""

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._last: dict[int, Families] = {}
        self._silent: set[int] = set()
        self._gone: Families = {}

    def heard(self, process: int, text: str) -> None:
        """Its present exposition. Raises ValueError."""
        self._last[process] = parse(text)
        self._silent.discard(process)

    def silent(self, process: int) -> None:
        """It did not answer this time: its last counts stand, its gauges are not known."""
        self._silent.add(process)

    def ended(self, process: int) -> None:
        self._gone = merge([self._gone, counts(self._last.pop(process, {}))])
        self._silent.discard(process)

    def collect(self) -> list[Metric]:
        own = parse(generate_latest(self._own).decode())
        others = [
            counts(families) if process in self._silent else families
            for process, families in self._last.items()
        ]
        return [_metric(family) for family in merge([own, self._gone, *others]).values()]


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.text, family.type)
    for (name, labels), value in family.samples.items():
        metric.add_sample(name, dict(labels), value)
    return metric
