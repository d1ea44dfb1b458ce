"""Who asked, carried along: X-Request-ID and the B3 ids through request, job and provider call.

`headers` is a plain mapping both ways, so a job keeps what `outgoing_headers()` gave and its worker
goes on from there (S1-38, S1-50).
"""

import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = "X-Request-ID"
_TRACE, _SPAN, _SAMPLED, _FLAGS = "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled", "X-B3-Flags"
_PARENT = "X-B3-ParentSpanId"


@dataclass(frozen=True, slots=True)
class Trace:
    """One unit of work: its request, its trace, its own span and the span that caused it.

    `decision` is what the caller said about sampling, passed on unchanged.
    """

    request_id: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    decision: Mapping[str, str]


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    return _current.get()


def request_id() -> str:
    """Of the work at hand; a new one outside of any."""
    trace = _current.get()
    return trace.request_id if trace else str(uuid.uuid4())


@contextmanager
def traced(headers: Mapping[str, str] | None = None) -> Iterator[Trace]:
    """Run a block as one unit of work, caused by what `headers` name; nothing named: by itself.

    Ids of a form that is not theirs are replaced: they are callers' text and go to the log.
    """
    trace = _caused_by(headers) if headers else _by_itself()
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def _by_itself() -> Trace:
    return Trace(str(uuid.uuid4()), secrets.token_hex(16), secrets.token_hex(8), None, {})


def _caused_by(names: Mapping[str, str]) -> Trace:
    headers = {name.lower(): value for name, value in names.items()}

    def take(name: str, form: str) -> str | None:
        value = headers.get(name.lower(), "")
        return value if re.fullmatch(form, value) else None

    decisions = {_SAMPLED: take(_SAMPLED, "[01]"), _FLAGS: take(_FLAGS, "1")}
    return Trace(
        request_id=take(REQUEST_ID, "[A-Za-z0-9_.:=@/+-]{1,128}") or str(uuid.uuid4()),
        trace_id=take(_TRACE, "[0-9a-fA-F]{16}|[0-9a-fA-F]{32}") or secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        parent_span_id=take(_SPAN, "[0-9a-fA-F]{16}"),
        decision={name: value for name, value in decisions.items() if value},
    )


def outgoing_headers() -> dict[str, str]:
    """Headers of a call made for the work at hand; {} outside of any. Every call is a new span."""
    trace = _current.get()
    if trace is None:
        return {}
    return {
        REQUEST_ID: trace.request_id,
        _TRACE: trace.trace_id,
        _SPAN: secrets.token_hex(8),
        _PARENT: trace.span_id,
        **trace.decision,
    }
