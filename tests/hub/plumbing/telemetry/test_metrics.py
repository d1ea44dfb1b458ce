from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from hub.plumbing.telemetry import metrics
from hub.plumbing.telemetry.counts import TimedCounts

# name → labels, as the documents and the dashboards name them
NAMED = {
    "http_requests": {"method", "route", "status_code"},
    "http_request_duration_seconds": {"method", "route", "status_code"},
    "http_requests_in_flight": set(),
    "active_connections": {"namespace"},
    "queue_depth": {"queue"},
    "message_processing_time": {"queue"},
    "db_pool_connections": {"pool", "state"},
    "redis_connected": {"client"},
    "breaker_state": {"provider"},
    "provider_answers": {"provider", "about"},
    "provider_refuses": {"provider"},
    "notifications": {"kind"},
    "deliveries": {"channel", "status", "reason"},
    "errors": {"door", "code"},
    "urgent_broadcast_recipients": set(),
    "urgent_questions": set(),
    "answers_within_target": set(),
    "outbox_unpublished": set(),
    "outbox_publish_failures": set(),
}


def test_metrics_have_the_names_and_labels_of_the_documents() -> None:
    labels = {
        one._name: set(one._labelnames)
        for one in vars(metrics).values()
        if isinstance(one, Counter | Gauge | Histogram)
    } | {
        family.name: set(family.labels)
        for one in vars(metrics).values()
        if isinstance(one, TimedCounts)
        for family in (one.counter, one.duration)
    }
    assert {name: labels[name] for name in NAMED} == NAMED


def test_every_metric_says_what_it_counts() -> None:
    families = list(metrics.REGISTRY.collect())
    assert len(families) > len(NAMED)
    assert all(family.documentation for family in families)


def test_durations_keep_the_boundaries_of_the_source_and_finer_ones() -> None:
    assert metrics.SECONDS == (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
    assert {0.1, 0.5, 1, 2, 5} <= set(metrics.SECONDS)


def test_the_exposition_can_be_read_and_holds_the_memory_of_the_process() -> None:
    metrics.HTTP_REQUESTS.count(("GET", "/x", "200"), 0.1)
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    memory = families["process_resident_memory_bytes"].samples[0].value
    assert memory > 1_000_000
    assert any(
        sample.name == "http_requests_total" and sample.labels["route"] == "/x"
        for sample in families["http_requests"].samples
    )


def test_events_of_sockets_are_counted_as_the_library_counts() -> None:
    """Same samples of the same durations, among them some on a boundary and past the last."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = metrics.SOCKET_EVENTS
    events = TimedCounts(metrics.SECONDS, own.counter, own.duration)
    ours.register(events)
    count = Counter("socket_events", "x", ["namespace", "event", "outcome"], registry=theirs)
    duration = Histogram(
        "socket_event_duration_seconds",
        "x",
        ["namespace", "event"],
        buckets=metrics.SECONDS,
        registry=theirs,
    )
    seconds = [0.0, 0.004, 0.005, 0.0051, 0.1, 1, 5, 5.1, 700]
    for index, took in enumerate(seconds * 3):
        event, outcome = "ab"[index % 2], ("ok", "INVALID_PAYLOAD")[index % 3 == 0]
        events.count(("/", event, outcome), took)
        count.labels("/", event, outcome).inc()
        duration.labels("/", event).observe(took)
    assert _samples(ours) == _samples(theirs)
    a = {"namespace": "/", "event": "a"}
    assert ours.get_sample_value("socket_event_duration_seconds_count", a) == 14


def _samples(registry: CollectorRegistry) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())), round(sample.value, 9))
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
