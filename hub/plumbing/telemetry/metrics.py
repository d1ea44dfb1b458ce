"""Every metric of the house, with what it counts. One registry for a process.

Names and labels are those of S1-40 … S1-45, S2-079, S2-126, S5-39, C13 and C14. A label takes its
values from a closed list (a route's pattern, an event's name, a code), never from a caller's text:
what matches nothing is `unknown` (S1-45).
"""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from hub.plumbing.telemetry.counts import Counts, Family, TimedCounts, UnderWay

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # process_resident_memory_bytes and its sisters (S5-39)
PlatformCollector(registry=REGISTRY)

UNKNOWN = "unknown"
"""Label of whatever is not on the closed list."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
"""C14: the boundaries of S1-41 and finer ones under its smallest."""

BUILD = Info("build", "Version and environment of this process.", registry=REGISTRY)

# Requests

_REQUEST = ("method", "route", "status_code")
HTTP_REQUESTS = TimedCounts(
    SECONDS,
    Family("http_requests", "Finished requests (S1-40).", _REQUEST),
    Family(
        "http_request_duration_seconds",
        "From the request's head to the end of its answer (S1-41).",
        _REQUEST,
    ),
)
REGISTRY.register(HTTP_REQUESTS)
HTTP_UNDER_WAY = UnderWay()
HTTP_IN_FLIGHT = Gauge(
    "http_requests_in_flight", "Requests that have no answer yet (C13).", registry=REGISTRY
)
HTTP_IN_FLIGHT.set_function(HTTP_UNDER_WAY.count)
ERRORS = Counter(
    "errors_total",
    "Coded errors answered, by door (http, socket, job, event) and code.",
    ["door", "code"],
    registry=REGISTRY,
)
RATE_LIMITED = Counter(
    "rate_limited_total", "Calls and events over a limit.", ["scope"], registry=REGISTRY
)
REFRESH_REUSED = Counter(
    "refresh_tokens_reused_total",
    "Refresh tokens that came a second time, so that their logins ended.",
    registry=REGISTRY,
)
JWKS_FETCHES = Counter(
    "jwks_fetches_total", "Requests for the keys of tokens.", ["outcome"], registry=REGISTRY
)
CONNECTIONS_REFUSED = Counter(
    "connections_refused_total",
    "TCP connections closed at once, as too many are open: of an address, or of the process.",
    ["reason"],
    registry=REGISTRY,
)
LIMITS_ALONE = Gauge(
    "limits_alone", "1 while Redis is away and this process counts alone.", registry=REGISTRY
)

# Sockets

ACTIVE_CONNECTIONS = Gauge(
    "active_connections", "Live sockets of this node (C13).", ["namespace"], registry=REGISTRY
)
SOCKET_EVENTS = TimedCounts(
    SECONDS,
    Family(
        "socket_events",
        "Events of clients, by how they were acknowledged: ok or an error code.",
        ("namespace", "event", "outcome"),
    ),
    Family(
        "socket_event_duration_seconds",
        "From an event's arrival to its acknowledgement.",
        ("namespace", "event"),
    ),
)
REGISTRY.register(SOCKET_EVENTS)
PUBLISH_TO_SOCKET = Histogram(
    "publish_to_socket_seconds",
    "From the publish of an event to its node's sockets, by the two clocks; p95 under 0.1.",
    ["event"],
    buckets=SECONDS,
    registry=REGISTRY,
)

# Stores

REDIS_CONNECTED = Gauge(
    "redis_connected", "1 while Redis answers (S5-39).", ["client"], registry=REGISTRY
)
DB_POOL = Gauge(
    "db_pool_connections",
    "Connections of a pool: total, idle, waiting (S2-126).",
    ["pool", "state"],
    registry=REGISTRY,
)
DB_QUERY_DURATION = Histogram(
    "db_query_duration_seconds",
    "How long a connection was held: to read, to change and publish, to sweep (S5-39).",
    ["verb"],
    buckets=SECONDS,
    registry=REGISTRY,
)

REPLICA_FALLBACKS = Counter(
    "replica_fallbacks_total",
    "Reads that a replica did not answer and another server did.",
    registry=REGISTRY,
)
CACHE_READS = Counts(
    Family(
        "cache_reads",
        "Reads by what is cached and where it was: memory, redis, miss (S2-009).",
        ("family", "outcome"),
    )
)
REGISTRY.register(CACHE_READS)

# Outbox, jobs, providers

OUTBOX_UNPUBLISHED = Gauge(
    "outbox_unpublished", "Rows that wait although they are due.", registry=REGISTRY
)
OUTBOX_PUBLISHED = Counter("outbox_published_total", "Rows handed to Redis.", registry=REGISTRY)
OUTBOX_PUBLISH_FAILED = Counter(
    "outbox_publish_failures_total", "Tries that left their rows in the outbox.", registry=REGISTRY
)
OUTBOX_REPLAYED = Counter(
    "outbox_replayed_total",
    "Rows published again, because Redis had lost what it was told last.",
    registry=REGISTRY,
)
OUTBOX_DROPPED = Counter(
    "outbox_dropped_total",
    "Emits past their deadline, or retracted, that nobody needs to hear.",
    ["event"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("queue_depth", "Jobs that wait or run (S2-079).", ["queue"], registry=REGISTRY)
MESSAGE_PROCESSING_TIME = Histogram(
    "message_processing_time",
    "Milliseconds a job ran; S2-079 scales at 1000.",
    ["queue"],
    buckets=(5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000),
    registry=REGISTRY,
)
JOBS = Counter(
    "jobs_total",
    "Jobs by outcome: done, expired, retried, delayed, held; redelivered before its outcome.",
    ["queue", "outcome"],
    registry=REGISTRY,
)
BREAKER_STATE = Gauge(
    "breaker_state", "0 closed, 1 half-open, 2 open (S4-10).", ["provider"], registry=REGISTRY
)
DEPENDENCY_UP = Gauge(
    "dependency_up",
    "1 while this worker reaches it: database, redis, or a provider whose breaker is not open.",
    ["dependency"],
    registry=REGISTRY,
)
PROVIDER_DURATION = Histogram(
    "provider_request_duration_seconds",
    "One call to a push or mail provider.",
    ["provider"],
    buckets=(*SECONDS, 10, 30),
    registry=REGISTRY,
)

REPORTS = Counter(
    "reports_total",
    "Spans and errors for who watches from outside: sent, refused, dropped for want of room.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
PROVIDER_ANSWERS = Counter(
    "provider_answers_total",
    "Answers by what they are about: sent, recipient, us, provider.",
    ["provider", "about"],
    registry=REGISTRY,
)
PROVIDER_REFUSES = Gauge(
    "provider_refuses",
    "1 while a provider refuses us (our key, project, server): somebody has to mend it.",
    ["provider"],
    registry=REGISTRY,
)

# What the product is for

NOTIFICATIONS = Counter(
    "notifications_total", "Notification rows written.", ["kind"], registry=REGISTRY
)
DELIVERIES = Counter(
    "deliveries_total",
    "What became of deliveries; reason from the closed list of rules/reasons.py, else empty.",
    ["channel", "status", "reason"],
    registry=REGISTRY,
)
URGENT_QUESTIONS = Counter("urgent_questions_total", "Urgent questions asked.", registry=REGISTRY)
URGENT_UNANSWERED = Counter(
    "urgent_unanswered_total",
    "Urgent questions whose deadline passed without an answer.",
    registry=REGISTRY,
)
ANSWERS_WITHIN_TARGET = Counter(
    "answers_within_target_total",
    "Urgent questions whose first answer came within 600 s.",
    registry=REGISTRY,
)
URGENT_RECIPIENTS = Histogram(
    "urgent_broadcast_recipients",
    "Ranked people of one wave.",
    buckets=(0, 1, 5, 10, 25, 50, 100, 200, 500, 1000),
    registry=REGISTRY,
)

BACKGROUND_FAILURES = Counter(
    "background_failures_total",
    "Background tasks that ended by an error.",
    ["task"],
    registry=REGISTRY,
)


def requests_answered() -> tuple[int, int]:
    """Of this process: all but those about its own health, and how many of them ended with 5xx."""
    requests = failed = 0
    for metric in HTTP_REQUESTS.collect():
        for sample in metric.samples:
            route = sample.labels.get("route", "")
            if not sample.name.endswith("_total") or "health" in route or "metrics" in route:
                continue
            requests += int(sample.value)
            if sample.labels["status_code"].startswith("5"):
                failed += int(sample.value)
    return requests, failed


def exposition() -> tuple[bytes, str]:
    """Body and content type of GET /metrics (S1-44)."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
