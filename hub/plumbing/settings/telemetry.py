"""What is told to whoever watches from outside: spans to a collector, errors to Sentry."""

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from hub.plumbing.settings.parsing import BaseUrl, Part, by_environment, env


def _dsn(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://\w+(:\w+)?@[\w.:-]+(/[\w/-]+)?/\d+", value.get_secret_value()):
        raise ValueError("must be a DSN, as https://key@sentry.example.org/1")
    return value


class Telemetry(Part):
    """Traces and errors; both are off where nobody is named who takes them."""

    tracing_enabled: bool = env(
        "TRACING_ENABLED",
        by_environment(development=True, test=True, staging=True, production=False),
        "spans go to OTEL_EXPORTER_OTLP_ENDPOINT; false in production (C15)",
    )
    traces_sample_rate: float = env(
        "TRACES_SAMPLE_RATE", 0.1, "share of the work nobody called that is traced", ge=0, le=1
    )
    otlp_endpoint: BaseUrl | None = env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "a collector that takes OTLP over HTTP, as http://127.0.0.1:4318; none: no spans are made",
    )
    otlp_headers: SecretStr | None = env(
        "OTEL_EXPORTER_OTLP_HEADERS", None, "name=value, comma separated, for the collector"
    )
    sentry_dsn: Annotated[SecretStr, AfterValidator(_dsn)] | None = env(
        "SENTRY_DSN", None, "where errors are reported to"
    )
    profiles_sample_rate: float = env(
        "PROFILES_SAMPLE_RATE",
        0.1,
        "share of the api's and worker's processes that are profiled; with SENTRY_DSN only",
        ge=0,
        le=1,
    )
