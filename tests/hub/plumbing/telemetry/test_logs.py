"""What a process prints: a program is run, and its lines are read."""

import json
import os
import re
import textwrap
from typing import Any

import pytest

from tests.forked import run_text

PROLOGUE = """
import logging, structlog
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.logs import AccessLog, configure
from hub.plumbing.telemetry.trace import traced

settings = Settings.load({
    "JWT_SECRET": "j" * 32, "LINK_SECRET": "l" * 32, "DATABASE_URL": "postgresql://u:hunter2@db/x",
    "REDIS_URL": "redis://r", **%r})
configure(settings)
log = structlog.get_logger("a.b")
"""


def output_of(body: str, **environ: str) -> str:
    program = PROLOGUE % environ + textwrap.dedent(body)
    done = run_text(program, os.environ)
    done.check_returncode()
    assert done.stderr == "", "everything goes to stdout"
    return done.stdout


def lines_of(body: str, **environ: str) -> list[dict[str, Any]]:
    output = output_of(body, **{"LOG_FORMAT": "json", **environ})
    return [json.loads(line) for line in output.splitlines()]


def test_a_line_in_production_is_json_with_the_default_fields() -> None:
    [line] = lines_of(
        'log.warning("it went", n=1)',
        APP_ENV="production",
        APP_VERSION="1.2",
        SERVICE_NAME="worker",
        LOG_FORMAT="",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "it went", "n": 1, "level": "warning", "logger": "a.b",
        "service": "worker", "version": "1.2", "environment": "production",
    }  # fmt: skip


def test_elsewhere_a_line_is_text() -> None:
    output = output_of('log.info("it went", n=1)')
    assert "it went" in output
    assert "n=1" in output
    with pytest.raises(json.JSONDecodeError):
        json.loads(output)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"APP_ENV": "development"}, ["debug", "info", "warn", "error"]),
        ({"APP_ENV": "staging"}, ["info", "warn", "error"]),
        ({"APP_ENV": "test"}, ["warn", "error"]),
        ({"APP_ENV": "production"}, ["warn", "error"]),
        ({"APP_ENV": "production", "LOG_LEVEL": "error"}, ["error"]),
    ],
)
def test_the_level_follows_the_environment_unless_it_is_set(
    environ: dict[str, str], expected: list[str]
) -> None:
    body = 'for name in ("debug", "info", "warn", "error"): getattr(log, name)(name)'
    assert [line["event"] for line in lines_of(body, **environ)] == expected


def test_an_error_has_name_message_and_stack() -> None:
    body = """
    def fails():
        raise ValueError("no such wave")
    try:
        fails()
    except ValueError:
        log.exception("it failed")
    """
    [line] = lines_of(body)
    assert line["error"]["name"] == "ValueError"
    assert line["error"]["message"] == "no such wave"
    assert "in fails" in line["error"]["stack"]
    assert "in fails" in output_of(body)


def test_lines_of_libraries_take_the_same_way() -> None:
    body = """
    with traced({"X-Request-ID": "r-1"}):
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("some.library").exception("about %s", "kim@naver.com")
    import warnings
    warnings.warn("old way")
    """
    first, second = lines_of(body)
    assert first["event"] == "about [redacted]"
    assert first["requestId"] == "r-1"
    assert first["error"]["name"] == "KeyError"
    assert first["service"] == "hub"
    assert "old way" in second["event"]


def test_a_line_carries_the_ids_of_the_work_at_hand() -> None:
    body = """
    with traced({"X-Request-ID": "r-1", "X-B3-TraceId": "a" * 32}) as work:
        log.info("inside", span=work.span_id)
    log.info("outside")
    """
    inside, outside = lines_of(body)
    assert (inside["requestId"], inside["traceId"]) == ("r-1", "a" * 32)
    assert inside["spanId"] == inside["span"]
    assert "requestId" not in outside


PRIVATE = ("eyJhbGciOiJI", "hunter2", "j" * 32, "kim@naver.com", "33.4996", "126.5312", "약국 어디")
LEAKS = """
jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"
question = {"questionId": "q1", "title": "약국 어디", "content": "약국 어디 있어요?",
            "location": {"lat": 33.4996, "lng": 126.5312}, "author": {"email": "kim@naver.com"}}
log.info("asked", question=question, body=question, userId="u1")
log.info(f"asked at 33.4996,126.5312 by kim@naver.com with {jwt}")
log.info("settings", shown=repr(settings), url="postgresql://u:hunter2@db/x", used="j" * 32)
logging.getLogger("lib").error("request %s", {"token": jwt, "at": "lat: 33.4996 lng: 126.5312"})
structlog.contextvars.bind_contextvars(email="kim@naver.com", content="약국 어디")
try:
    raise RuntimeError(f"{jwt} kim@naver.com {{'lat': 33.4996, 'lng': 126.5312}}")
except RuntimeError as error:
    error.add_note("postgresql://u:hunter2@db/x")
    log.exception("it failed", frames=[error], payload=question)
AccessLog("all").request(method="GET", path="/api/v1/unsubscribe/" + jwt, status=200, seconds=0.1,
                         userId="u1", query=question)
"""


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.refused
def test_nothing_private_reaches_a_log(form: str) -> None:
    output = output_of(LEAKS, LOG_FORMAT=form)
    assert len(output.splitlines()) >= 6
    assert "u1" in output
    assert [word for word in PRIVATE if word in output] == []


ACCESS = """
access = AccessLog(settings.process.access_log)
access.request(method="GET", path="/a", status=200, seconds=0.01, ip="1.2.3.4", userId="u1")
access.request(method="GET", path="/b", status=404, seconds=0.01)
access.request(method="GET", path="/c", status=200, seconds=1.5)
access.request(method="GET", path="/d", status=503, seconds=0.01)
access.event(namespace="/", event="inbox:sync", outcome="ok", seconds=0.01, room=None)
access.event(namespace="/", event="question:join", outcome="NOT_FOUND", seconds=0.01)
access.event(namespace="/chat", event="chat:send-message", outcome="INTERNAL", seconds=0.01)
"""


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({"APP_ENV": "production"}, 3),  # slow, 503 and INTERNAL
        ({"APP_ENV": "production", "ACCESS_LOG": "all"}, 3),  # the others are of level info
        ({"APP_ENV": "production", "ACCESS_LOG": "all", "LOG_LEVEL": "info"}, 7),
        ({"APP_ENV": "development", "LOG_LEVEL": "warn"}, 3),
        ({"APP_ENV": "development", "LOG_LEVEL": "error"}, 1),  # slow and 503 are warnings
        ({"APP_ENV": "development"}, 7),
        ({"APP_ENV": "development", "ACCESS_LOG": "off"}, 0),
    ],
)
@pytest.mark.fault(31)
def test_the_access_log_has_a_switch_of_its_own(environ: dict[str, str], count: int) -> None:
    lines = lines_of(ACCESS, **environ)
    assert len(lines) == count
    if environ.get("LOG_LEVEL") == "warn" or (environ["APP_ENV"] == "production" and count == 3):
        assert [line["level"] for line in lines] == ["warning", "warning", "error"]


@pytest.mark.fault(31)
@pytest.mark.parametrize("level", ["warn", "error"])
def test_a_line_that_is_not_wanted_is_no_work(level: str) -> None:
    """What a request's line would say is not even gathered (api.gate, hub.sockets.gate)."""
    [line] = lines_of(
        """
        access = AccessLog("all")
        asked = [access.wants_request(200, 0.1), access.wants_request(404, 0.1),
                 access.wants_event("ok", 0.1), access.wants_event("NOT_FOUND", 0.1)]
        log.error("asked", wanted=asked, failed=access.wants_request(500, 0.1))
        """,
        LOG_LEVEL=level,
    )
    assert line["wanted"] == [False] * 4
    assert line["failed"]


def test_a_request_line_holds_what_the_guide_asks_for() -> None:
    body = """
    with traced({"X-Request-ID": "r-1"}):
        AccessLog("all").request(method="GET", path="/a", status=200, seconds=0.0123,
                                 userAgent="ua", ip="1.2.3.4", userId="u1")
    """
    [line] = lines_of(body)
    expected = {
        "requestId": "r-1", "method": "GET", "path": "/a", "statusCode": 200, "duration": 12.3,
        "userAgent": "ua", "ip": "1.2.3.4", "userId": "u1",
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected


@pytest.mark.fault(10)
@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.refused
def test_no_line_is_lost_to_what_a_stranger_sent(form: str) -> None:
    """Lone surrogates (bytes that are no UTF-8) and integers over 64 bits."""
    output = output_of(
        r"""
        log.warning("first", userAgent="caf\udce9", number=2**80, deep={"\ud800": ["\udfff"]})
        logging.getLogger("lib").warning("second %s", "caf\udce9")
        AccessLog("all").request(method="GET", path="/\udcff", status=400, seconds=0.1)
        """,
        LOG_FORMAT=form,
        LOG_LEVEL="info",
    )
    lines = output.splitlines()
    assert [word for word in ("first", "second", "request") if word in output] == [
        "first", "second", "request",
    ]  # fmt: skip
    assert "caf?" in output
    if form == "json":
        assert json.loads(lines[0])["number"] == 2**80
        assert len(lines) == 3
