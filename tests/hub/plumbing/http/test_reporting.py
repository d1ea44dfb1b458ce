"""Spans and errors on their way to who watches from outside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from hub.plumbing.http import courier
from hub.plumbing.http.reporting import open_reporting
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings, SettingsError
from hub.plumbing.telemetry.logs import configure
from hub.plumbing.telemetry.metrics import REGISTRY
from hub.plumbing.telemetry.trace import calling, current, mark, marked, traced
from tests.conftest import SECRETS
from tests.fakes.script import Fault
from tests.fakes.watchers import FakeCollector, FakeSentry

STORES = {"DATABASE_URL": "postgresql://u@localhost/d", "REDIS_URL": "redis://localhost"}


def settings_of(**given: str) -> Settings:
    return Settings.load({"APP_ENV": "test", **STORES, **SECRETS, **given})


@asynccontextmanager
async def reporting(role: str = "api", **given: str) -> AsyncIterator[None]:
    life = Lifecycle()
    await open_reporting(life, settings_of(**given), role)
    try:
        yield
    finally:
        await life.close()
        assert not life.failed


def traces_to(collector: FakeCollector, rate: str = "1") -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACES_SAMPLE_RATE": rate}


def counted(outcome: str, kind: str = "spans") -> float:
    labels = {"kind": kind, "outcome": outcome}
    return REGISTRY.get_sample_value("reports_total", labels) or 0.0


async def test_a_call_and_what_it_causes_are_spans_of_one_trace() -> None:
    async with FakeCollector() as collector:
        async with reporting(
            **traces_to(collector), OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cret, x = y"
        ):
            with traced({"X-Request-ID": "r-1"}, "POST /questions") as work:
                work.note({"http.response.status_code": 201})
                with calling("send fcm"):
                    pass
                told = mark()
            with marked(told, "write question:urgent"):
                pass
        root, call, write = (
            collector.named(name)[0]
            for name in ("POST /questions", "send fcm", "write question:urgent")
        )
    assert root["parent"] == ""
    assert call["parent"] == write["parent"] == root["span"]
    assert root["trace"] == call["trace"] == write["trace"] == work.trace_id
    assert root["facts"] == {"request.id": "r-1", "http.response.status_code": 201}
    assert root["resource"]["service.name"] == "hub-api"
    assert collector.headers["api-key"] == "s3cret"
    assert collector.headers["x"] == "y"


async def test_an_error_is_told_by_its_kind_and_never_by_its_text() -> None:
    async with FakeCollector() as collector:
        async with reporting(**traces_to(collector)):
            with pytest.raises(ValueError, match="a secret"), traced(name="work"):
                raise ValueError("a secret of theirs")
        (span,) = collector.named("work")
    assert span["failure"] == "ValueError"
    assert "secret" not in str(span)


@pytest.mark.parametrize(
    ("rate", "headers", "recorded"),
    [
        ("0", {}, False),
        ("1", {}, True),
        ("0", {"X-B3-Sampled": "1"}, True),
        ("0", {"X-B3-Flags": "1"}, True),
        ("1", {"X-B3-Sampled": "0"}, False),
    ],
)
async def test_who_calls_decides_and_else_the_rate(
    rate: str, headers: dict[str, str], recorded: bool
) -> None:
    async with FakeCollector() as collector:
        async with reporting(**traces_to(collector, rate)):
            with traced(headers, "work"):
                assert bool(mark()) is recorded
                with calling("call"):
                    pass
        assert len(collector.received) == 2 * recorded


async def test_of_two_thousand_traces_a_tenth_is_recorded() -> None:
    async with FakeCollector() as collector, reporting(**traces_to(collector, "0.1")):
        taken = 0
        for _ in range(2000):
            with traced() as work:
                taken += work.decision["X-B3-Sampled"] == "1"
    assert 120 < taken < 280  # six standard deviations


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"TRACING_ENABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"APP_ENV": "production", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
async def test_where_tracing_is_off_nothing_is_decided(given: dict[str, str]) -> None:
    async with reporting(**given):
        with traced(name="work") as work:
            assert mark() == ""
            assert current() is work
        assert work.decision == {}


@pytest.mark.parametrize("theirs", ["a" * 32, "AB" * 16, "Ab" * 8])
async def test_a_message_goes_on_with_the_callers_trace_as_it_was_written(theirs: str) -> None:
    async with FakeCollector() as collector:
        async with reporting(**traces_to(collector)):
            with traced({"X-B3-TraceId": theirs, "X-B3-Sampled": "1"}, "ask") as work:
                told = mark()
            with marked(told, "write") as write:
                assert (write.trace_id, write.parent_span_id) == (theirs, work.span_id)
        (span,) = collector.named("write")
    assert span["trace"] == theirs.lower().zfill(32)


async def test_a_mark_of_another_form_begins_a_trace_of_its_own() -> None:
    with marked("x-y", "write") as work:
        assert work.parent_span_id is None
        assert work.decision == {}


async def test_what_the_collector_cannot_take_now_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier, "TOGETHER_S", 0.0)
    monkeypatch.setattr(courier, "FIRST_S", 0.01)
    async with FakeCollector() as collector, reporting(**traces_to(collector)):
        collector.arm(Fault("traces", status=503, times=2), Fault("traces", "close"))
        with traced(name="work"):
            pass
        await collector.wait(lambda: bool(collector.received), 5)
        assert collector.asked == 4


async def test_what_it_refuses_for_good_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier, "TOGETHER_S", 0.0)
    before = counted("refused")
    async with FakeCollector() as collector:
        collector.arm(Fault("traces", status=400))
        async with reporting(**traces_to(collector)):
            with traced(name="work"):
                pass
        assert collector.asked == 1
        assert not collector.received
    assert counted("refused") == before + 1


async def test_a_collector_that_is_away_costs_a_bounded_memory_and_a_bounded_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier, "WAITING", 10)
    before = counted("dropped")
    async with FakeCollector() as collector:
        given = traces_to(collector)
    async with reporting(**given):  # nobody listens there any more
        for _ in range(30):
            with traced(name="work"):
                pass
    assert counted("dropped") == before + 30


async def test_an_error_reaches_sentry_with_its_frames_and_without_secrets() -> None:
    async with FakeSentry() as sentry:
        settings = settings_of(SENTRY_DSN=sentry.dsn, APP_VERSION="1.2.3")
        configure(settings)
        life = Lifecycle()
        await open_reporting(life, settings, "hub")
        log = structlog.get_logger("hub.somewhere")
        device = "-".join(["t", "0815"])  # in one piece it would stand in a frame's line of source
        with traced({"X-Request-ID": "r-1"}):
            try:
                password = SECRETS["JWT_SECRET"]
                raise ValueError(f"cannot use {password}")
            except ValueError as error:
                log.error("a request failed", exc_info=error, token=device, attempt=2)
        log.warning("nobody is told of this")
        await life.close()
        (event,) = [one["body"] for one in sentry.received if one["type"] == "event"]
        log.error("nobody is told after the end")
        assert len(sentry.received) == 1
    (what,) = event["exception"]["values"]
    assert what["type"] == "ValueError"
    assert what["value"] == "cannot use [redacted]"
    assert what["stacktrace"]["frames"][-1]["function"].startswith("test_an_error_reaches")
    assert event["logentry"]["message"] == "a request failed"
    assert event["tags"]["request_id"] == "r-1"
    assert (event["environment"], event["release"]) == ("test", "1.2.3")
    assert event["extra"]["attempt"] == "2"
    assert device not in str(event)
    assert SECRETS["JWT_SECRET"] not in str(event)


async def test_the_api_is_profiled_and_the_hub_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profiler is a thread, and none computes beside the sockets."""
    begun: list[float] = []
    from hub.plumbing.telemetry import sentry as module

    monkeypatch.setattr(module, "start_profiler", lambda: begun.append(1.0))
    async with FakeSentry() as sentry:
        given = {"SENTRY_DSN": sentry.dsn, "PROFILES_SAMPLE_RATE": "1"}
        for role, times in (("hub", 0), ("up", 0), ("api", 1), ("worker", 2)):
            async with reporting(role, **given):
                assert len(begun) == times


@pytest.mark.parametrize("dsn", ["sentry", "https://sentry.example.org/1", "https://k@h/x y"])
def test_a_dsn_that_is_none_is_refused_at_the_start(dsn: str) -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN: must be"):
        settings_of(SENTRY_DSN=dsn)
