"""Several real registries in one sum."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from hub.plumbing.telemetry.merged import Sum

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Plain(Collector):
    """As the engine's figures are: families made when somebody asks."""

    def __init__(self, frames: int, lag: float) -> None:
        self.frames = frames
        self.lag = lag

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("engine_frames", "Frames", labels=["direction"])
        family.add_metric(["in"], self.frames)
        yield family
        yield GaugeMetricFamily("engine_loop_lag_seconds", "Lateness", value=self.lag)


class Process:
    def __init__(self, *, connected: bool = True, frames: int = 0, lag: float = 0.0) -> None:
        self.registry = CollectorRegistry()
        self.asked = Counter("asked", "Asked.", ["code"], registry=self.registry)
        self.took = Histogram("took_seconds", "Took.", buckets=(0.1, 1), registry=self.registry)
        self.live = Gauge("active_connections", "Live.", ["namespace"], registry=self.registry)
        redis = Gauge("redis_connected", "Redis.", ["client"], registry=self.registry)
        redis.labels(client="bus").set(connected)
        Info("build", "Version.", registry=self.registry).info({"version": "7"})
        self.registry.register(Plain(frames, lag))

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()


def shown(sum: Sum) -> Values:
    families = text_string_to_metric_families(generate_latest(sum).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def empty() -> Sum:
    return Sum(CollectorRegistry())


def test_what_counts_is_added_up() -> None:
    one, two, sum = Process(frames=3), Process(frames=4), empty()
    one.asked.labels(code="ok").inc(5)
    two.asked.labels(code="ok").inc(6)
    two.asked.labels(code="no").inc()
    for process, seconds in ((one, 0.05), (one, 0.5), (two, 0.5), (two, 5)):
        process.took.observe(seconds)
    one.live.labels(namespace="/").set(10)
    two.live.labels(namespace="/").set(20)
    sum.heard(1, one.text)
    sum.heard(2, two.text)
    values = shown(sum)
    assert values["asked_total", (("code", "ok"),)] == 11
    assert values["asked_total", (("code", "no"),)] == 1
    assert values["engine_frames_total", (("direction", "in"),)] == 7
    assert values["took_seconds_bucket", (("le", "0.1"),)] == 1
    assert values["took_seconds_bucket", (("le", "1.0"),)] == 3
    assert values["took_seconds_bucket", (("le", "+Inf"),)] == 4
    assert values["took_seconds_count", ()] == 4
    assert values["took_seconds_sum", ()] == 6.05
    assert values["active_connections", (("namespace", "/"),)] == 30


def test_of_some_gauges_the_worst_is_told() -> None:
    sum = empty()
    sum.heard(1, Process(connected=True, lag=0.5).text)
    sum.heard(2, Process(connected=False, lag=0.1).text)
    values = shown(sum)
    assert values["engine_loop_lag_seconds", ()] == 0.5
    assert values["redis_connected", (("client", "bus"),)] == 0
    assert values["build_info", (("version", "7"),)] == 1
    assert not [name for name, _ in values if name.endswith("_created")]


def test_the_parents_own_figures_are_there() -> None:
    own = CollectorRegistry()
    Counter("restarts", "Restarts.", registry=own).inc(2)
    assert shown(Sum(own)) == {("restarts_total", ()): 2}


def test_types_and_texts_stay() -> None:
    sum = empty()
    process = Process()
    sum.heard(1, process.text)
    expected = {
        line for line in process.text.splitlines() if line[0] == "#" and "_created" not in line
    }
    assert {line for line in generate_latest(sum).decode().splitlines() if line[0] == "#"} == (
        expected
    )


def test_one_that_does_not_answer_keeps_its_counts_but_not_its_gauges() -> None:
    sum, process = empty(), Process()
    process.asked.labels(code="ok").inc(5)
    process.live.labels(namespace="/").set(10)
    sum.heard(1, process.text)
    sum.silent(1)
    assert shown(sum)["asked_total", (("code", "ok"),)] == 5
    assert ("active_connections", (("namespace", "/"),)) not in shown(sum)
    sum.heard(1, process.text)
    assert shown(sum)["active_connections", (("namespace", "/"),)] == 10


def test_one_that_ends_leaves_its_counts_and_takes_its_gauges() -> None:
    sum, process = empty(), Process()
    process.asked.labels(code="ok").inc(5)
    process.live.labels(namespace="/").set(10)
    sum.heard(1, process.text)
    sum.ended(1)
    sum.ended(1)
    assert shown(sum)["asked_total", (("code", "ok"),)] == 5
    assert ("active_connections", (("namespace", "/"),)) not in shown(sum)
    fresh = Process()
    fresh.asked.labels(code="ok").inc()
    sum.heard(2, fresh.text)
    assert shown(sum)["asked_total", (("code", "ok"),)] == 6


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["count", "hear", "silent", "end"])), max_size=40
)


@given(STEPS)
def test_no_count_ever_goes_backwards(steps: list[tuple[int, str]]) -> None:
    """Whatever is counted, asked for, not answered and killed, in whatever order."""
    sum, names = empty(), iter(range(100))
    places = [(next(names), Process()) for _ in range(3)]
    last: Values = {}
    for place, step in steps:
        name, process = places[place]
        if step == "count":
            process.asked.labels(code="ok").inc()
            process.took.observe(0.5)
        elif step == "hear":
            sum.heard(name, process.text)
        elif step == "silent":
            sum.silent(name)
        else:
            sum.ended(name)
            places[place] = next(names), Process()
        values = shown(sum)
        counts = {key: value for key, value in last.items() if key[0] not in GAUGES}
        assert all(values[key] >= value for key, value in counts.items())
        last = values


GAUGES = {"active_connections", "redis_connected", "build_info", "engine_loop_lag_seconds"}
