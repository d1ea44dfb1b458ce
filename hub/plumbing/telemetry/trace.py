"""Who asked, carried along: X-Request-ID and the B3 ids through request, job and provider call.

`headers` is a plain mapping both ways, so a job keeps what `outgoing_headers()` gave and its worker
goes on from there (S1-38, S1-50).
"""

import re
import secrets
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, Self

REQUEST_ID = "X-Request-ID"
_TRACE, _SPAN, _SAMPLED, _FLAGS = "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled", "X-B3-Flags"
_PARENT = "X-B3-ParentSpanId"

NO_DECISION: Final[Mapping[str, str]] = MappingProxyType({})


class Trace:
    """One unit of work: its request, its trace, its own span and the span that caused it. As a
    context manager it is the current one while its block runs.

    `decision` is what the caller said about sampling, passed on unchanged. Ids are made when
    somebody first asks for them: most events of sockets end before anybody does.
    """

    __slots__ = ("_before", "_request_id", "_span_id", "_trace_id", "decision", "parent_span_id")

    def __init__(
        self,
        request_id: str | None = None,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        decision: Mapping[str, str] = NO_DECISION,
    ) -> None:
        self._request_id = request_id
        self._trace_id = trace_id
        self._span_id: str | None = None
        self.parent_span_id = parent_span_id
        self.decision = decision

    def __enter__(self) -> Self:
        self._before = _current.set(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _current.reset(self._before)

    @property
    def request_id(self) -> str:
        if self._request_id is None:
            self._request_id = str(uuid.uuid4())
        return self._request_id

    @property
    def trace_id(self) -> str:
        if self._trace_id is None:
            self._trace_id = secrets.token_hex(16)
        return self._trace_id

    @property
    def span_id(self) -> str:
        if self._span_id is None:
            self._span_id = secrets.token_hex(8)
        return self._span_id

    def outgoing_headers(self) -> dict[str, str]:
        """Headers of a call made for this work. Every call is a new span."""
        return {
            REQUEST_ID: self.request_id,
            _TRACE: self.trace_id,
            _SPAN: secrets.token_hex(8),
            _PARENT: self.span_id,
            **self.decision,
        }


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    return _current.get()


def request_id() -> str:
    """Of the work at hand; a new one outside of any."""
    trace = _current.get()
    return trace.request_id if trace else str(uuid.uuid4())


def traced(names: Mapping[str, str] | None = None) -> Trace:
    """Run a block as one unit of work, caused by what headers name; nothing named: by itself.

    Ids of a form that is not theirs are replaced: they are callers' text and go to the log.
    """
    if not names:
        return Trace()
    headers = {name.lower(): value for name, value in names.items()}

    def take(name: str, form: str) -> str | None:
        value = headers.get(name.lower(), "")
        return value if re.fullmatch(form, value) else None

    decisions = {_SAMPLED: take(_SAMPLED, "[01]"), _FLAGS: take(_FLAGS, "1")}
    return Trace(
        request_id=take(REQUEST_ID, "[A-Za-z0-9_.:=@/+-]{1,128}"),
        trace_id=take(_TRACE, "[0-9a-fA-F]{16}|[0-9a-fA-F]{32}"),
        parent_span_id=take(_SPAN, "[0-9a-fA-F]{16}"),
        decision={name: value for name, value in decisions.items() if value},
    )


def outgoing_headers() -> dict[str, str]:
    """Headers of a call made for the work at hand; {} outside of any. Every call is a new span."""
    trace = _current.get()
    return {} if trace is None else trace.outgoing_headers()
