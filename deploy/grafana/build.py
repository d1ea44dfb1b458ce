"""The dashboards as code: `python -m deploy.grafana.build` writes dashboards/ from the tables here.

A panel is what an operator asks, its unit, and its queries with what each line is called.
`tests/deploy` holds that the files are those of the tables, that each query parses, and that each
metric in it is one of the hub's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).with_name("dashboards")
WIDTH, HEIGHT = 8, 8
HEALTH: Final = 'route!~".*(health|ready|metrics).*"'


@dataclass(frozen=True)
class Panel:
    """`queries` by legend; `unit` is one of Grafana's."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"


def p95(metric: str, by: str = "le", matchers: str = "") -> str:
    buckets = f"rate({metric}_bucket{matchers}[$__rate_interval])"
    return f"histogram_quantile(0.95, sum by ({by}) ({buckets}))"


def rate(metric: str, by: str, matchers: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{matchers}[$__rate_interval]))"


OVERVIEW: Final = (
    Panel("Sockets now", "short", {"sockets": "sum(active_connections)"}, "stat"),
    Panel(
        "Answers within ten minutes, last day",
        "percentunit",
        {
            "answered": "sum(increase(answers_within_target_total[1d]))"
            " / sum(increase(urgent_questions_total[1d]))"
        },
        "stat",
    ),
    Panel(
        "Error budget left of 30 days, requests",
        "percentunit",
        {
            "left": '1 - (sum(increase(http_requests_total{status_code=~"5..",'
            + HEALTH
            + "}[30d]))"
            " or vector(0)) / sum(increase(http_requests_total{" + HEALTH + "}[30d])) / 0.001"
        },
        "stat",
    ),
    Panel(
        "From publish to socket, p95 (100 ms promised)",
        "s",
        {"{{event}}": p95("publish_to_socket_seconds", "le, event")},
    ),
    Panel(
        "Requests a second",
        "reqps",
        {"{{status_code}}": rate("http_requests_total", "status_code")},
    ),
    Panel(
        "Reads, p95 (100 ms promised)",
        "s",
        {
            "{{route}}": p95(
                "http_request_duration_seconds", "le, route", '{method="GET",' + HEALTH + "}"
            )
        },
    ),
    Panel("Jobs that wait", "short", {"{{queue}}": "max by (queue) (queue_depth)"}),
    Panel("Events not told yet", "short", {"outbox": "max(outbox_unpublished)"}),
    Panel(
        "What became of deliveries",
        "ops",
        {"{{channel}} {{status}}": rate("deliveries_total", "channel, status")},
    ),
)
"""The one that operators watch."""

SOCKETS: Final = (
    Panel(
        "Sockets of each node", "short", {"{{instance}}": "sum by (instance) (active_connections)"}
    ),
    Panel(
        "Sessions opened a second",
        "ops",
        {"{{transport}}": rate("engine_opened_total", "transport")},
    ),
    Panel(
        "Sessions closed a second, why",
        "ops",
        {"{{reason}}": rate("engine_closed_total", "reason")},
    ),
    Panel(
        "Refused a second, why",
        "ops",
        {
            "handshake: {{reason}}": rate("engine_refused_total", "reason"),
            "connection: {{reason}}": rate("connections_refused_total", "reason"),
        },
    ),
    Panel(
        "Clients' events, and how they were answered",
        "ops",
        {
            "{{event}} {{outcome}}": rate("socket_events_total", "event, outcome"),
        },
    ),
    Panel(
        "Clients' events, p95",
        "s",
        {"{{event}}": p95("socket_event_duration_seconds", "le, event")},
    ),
    Panel("Bytes a second", "Bps", {"{{direction}}": rate("engine_bytes_total", "direction")}),
    Panel("Bytes that wait for slow readers", "bytes", {"{{instance}}": "engine_backlog_bytes"}),
    Panel(
        "Volatile events dropped, slow clients closed",
        "ops",
        {
            "{{class}}": rate("engine_dropped_total", "class"),
            "closed": rate("engine_slow_consumers_total", "role"),
        },
    ),
    Panel("Lateness of the loop", "s", {"{{instance}}": "engine_loop_lag_seconds"}),
    Panel("Memory", "bytes", {"{{role}} {{instance}}": "process_resident_memory_bytes"}),
    Panel(
        "Processor",
        "percentunit",
        {
            "{{role}} {{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])",
        },
    ),
)

STORES: Final = (
    Panel("Hears Redis", "bool", {"{{instance}} {{client}}": "redis_connected"}),
    Panel("Counts its limits alone", "bool", {"{{instance}}": "limits_alone"}),
    Panel(
        "Connections to PostgreSQL",
        "short",
        {
            "{{instance}} {{pool}} {{state}}": "db_pool_connections",
        },
    ),
    Panel(
        "How long a connection is held, p95",
        "s",
        {
            "{{verb}}": p95("db_query_duration_seconds", "le, verb"),
        },
    ),
    Panel(
        "Reads found in the cache (target 0.9)",
        "percentunit",
        {
            "{{family}}": 'sum by (family) (rate(cache_reads_total{outcome!="miss"}[5m]))'
            " / sum by (family) (rate(cache_reads_total[5m]))",
        },
    ),
    Panel(
        "Reads that a replica did not answer, a second",
        "ops",
        {"{{role}}": rate("replica_fallbacks_total", "role")},
    ),
    Panel(
        "Told from the outbox a second",
        "ops",
        {
            "told": rate("outbox_published_total", "role"),
            "failed": rate("outbox_publish_failures_total", "role"),
            "again": rate("outbox_replayed_total", "role"),
            "dropped": rate("outbox_dropped_total", "role"),
        },
    ),
    Panel(
        "Age of the newest backup",
        "s",
        {
            "{{kind}}": "time() - dongne_backup_success_timestamp_seconds",
        },
    ),
)

JOBS: Final = (
    Panel("Jobs that wait", "short", {"{{queue}}": "max by (queue) (queue_depth)"}),
    Panel(
        "Jobs a second, by outcome",
        "ops",
        {"{{queue}} {{outcome}}": rate("jobs_total", "queue, outcome")},
    ),
    Panel(
        "How long a job takes, p95",
        "ms",
        {"{{queue}}": p95("message_processing_time", "le, queue")},
    ),
    Panel(
        "Providers, p95 of a call",
        "s",
        {
            "{{provider}}": p95("provider_request_duration_seconds", "le, provider"),
        },
    ),
    Panel(
        "What providers answer",
        "ops",
        {
            "{{provider}}: {{about}}": rate("provider_answers_total", "provider, about"),
        },
    ),
    Panel(
        "Breakers (2 = open) and refusals of us",
        "short",
        {
            "breaker {{provider}}": "max by (provider) (breaker_state)",
            "refuses us: {{provider}}": "max by (provider) (provider_refuses)",
        },
    ),
    Panel("Notifications a second", "ops", {"{{kind}}": rate("notifications_total", "kind")}),
    Panel(
        "Why deliveries were withheld",
        "ops",
        {
            "{{channel}}: {{reason}}": rate("deliveries_total", "channel, reason", '{reason!=""}'),
        },
    ),
    Panel("People a wave woke, p95", "short", {"people": p95("urgent_broadcast_recipients")}),
)

DASHBOARDS: Final = {
    "overview": ("Dongne Hub", OVERVIEW),
    "sockets": ("Dongne Hub: sockets", SOCKETS),
    "stores": ("Dongne Hub: stores", STORES),
    "jobs": ("Dongne Hub: jobs and channels", JOBS),
}


def panel(number: int, one: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "title": one.title,
        "type": one.kind,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {
            "h": HEIGHT,
            "w": WIDTH,
            "x": number % (24 // WIDTH) * WIDTH,
            "y": number // (24 // WIDTH) * HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": one.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend}
            for index, (legend, expr) in enumerate(one.queries.items())
        ],
    }


def dashboard(name: str) -> dict[str, Any]:
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"dongne-{name}",
        "title": title,
        "tags": ["dongne"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": [panel(number, one) for number, one in enumerate(panels)],
    }


def text(name: str) -> str:
    return json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for known in DASHBOARDS:
        (FOLDER / f"{known}.json").write_text(text(known), "utf-8")
