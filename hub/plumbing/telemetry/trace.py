"""Who asked, carried along: X-Request-ID and the B3 ids through request, job and provider call.

`headers` is a plain mapping both ways, so a job keeps what `outgoing_headers()` gave and its worker
goes on from there (S1-38, S1-50). A message to sockets keeps `mark()`, and the node that writes it
goes on from that. Where a recorder is set, each unit of work that is sampled ends as a span.
"""

import random
import re
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Protocol, Self

REQUEST_ID = "X-Request-ID"
_TRACE, _SPAN, _SAMPLED, _FLAGS = "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled", "X-B3-Flags"
_PARENT = "X-B3-ParentSpanId"

_FORMS: Final = {
    key: re.compile(form)
    for key, form in (
        (REQUEST_ID, "[A-Za-z0-9_.:=@/+-]{1,128}"),
        (_TRACE, "[0-9a-fA-F]{16}|[0-9a-fA-F]{32}"),
        (_SPAN, "[0-9a-fA-F]{16}"),
        (_SAMPLED, "[01]"),
        (_FLAGS, "[1]"),
    )
}
"""Of a header, by its name: what it must be. No two are alike."""

NO_DECISION: Final[Mapping[str, str]] = MappingProxyType({})

Role = Literal["server", "client", "consumer"]
"""Whose side of the work it is, in OpenTelemetry's words."""

Fact = str | int | bool

NO_FACTS: Final[Mapping[str, Fact]] = MappingProxyType({})

_MARK: Final = re.compile("([0-9a-fA-F]{16}|[0-9a-fA-F]{32})-([0-9a-f]{16})")
"""A trace's id as its caller wrote it, and a span's, which is ours."""


class Trace:
    """One unit of work: its request, its trace, its own span and the span that caused it. As a
    context manager it is the current one while its block runs.

    `decision` is what the caller said about sampling, or what the recorder decided for work that
    nobody called; it is passed on unchanged. Ids are made when somebody first asks for them: most
    events of sockets end before anybody does. `started_ns` (since 1970) is 0 for what no span is
    made of.
    """

    __slots__ = (
        "_before",
        "_request_id",
        "_span_id",
        "_trace_id",
        "decision",
        "facts",
        "failure",
        "name",
        "parent_span_id",
        "role",
        "started_ns",
    )

    def __init__(
        self,
        request_id: str | None = None,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        decision: Mapping[str, str] = NO_DECISION,
        name: str = "",
        role: Role = "server",
    ) -> None:
        self._request_id = request_id
        self._trace_id = trace_id
        self._span_id: str | None = None
        self.parent_span_id = parent_span_id
        self.decision = decision
        self.name = name
        self.role = role
        self.started_ns = 0
        self.facts = NO_FACTS
        self.failure = ""

    def __enter__(self) -> Self:
        self._before = _current.set(self)
        if _recorder is not None:
            self._begin(_recorder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        _current.reset(self._before)
        if self.started_ns and _recorder is not None:
            if kind is not None and not self.failure:
                self.failure = kind.__name__
            _recorder.ended(self)

    def _begin(self, recorder: "Recorder") -> None:
        if not self.decision:
            self.decision = {_SAMPLED: "1" if recorder.takes(self.trace_id) else "0"}
        if self.name and (self.decision.get(_SAMPLED) == "1" or self.decision.get(_FLAGS) == "1"):
            self.started_ns = time.time_ns()

    def note(self, facts: Mapping[str, Fact], failure: str = "") -> None:
        """What its span tells, where one is made; `failure` is a word of ours, never a text."""
        if self.started_ns:
            self.facts = {**self.facts, **facts}
            self.failure = failure

    @property
    def request_id(self) -> str:
        if self._request_id is None:
            self._request_id = _fresh_id()
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
        """Headers of a call made for this work, whose span causes what is called."""
        parent = {_PARENT: self.parent_span_id} if self.parent_span_id else {}
        ids = {REQUEST_ID: self.request_id, _TRACE: self.trace_id, _SPAN: self.span_id}
        return {**ids, **parent, **self.decision}


class Recorder(Protocol):
    """Makes spans of work. Neither method raises."""

    def takes(self, trace_id: str) -> bool:
        """Whether work that nobody called is recorded, with all that it causes."""

    def ended(self, work: Trace) -> None:
        """A unit of work that is sampled has just ended."""


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)

_recorder: Recorder | None = None


def record_to(recorder: Recorder | None) -> None:
    """Of the whole process; None: nothing is recorded, which costs a comparison a unit of work."""
    global _recorder
    _recorder = recorder


def current() -> Trace | None:
    return _current.get()


def request_id() -> str:
    """Of the work at hand; a new one outside of any."""
    trace = _current.get()
    return trace.request_id if trace else _fresh_id()


def _fresh_id() -> str:
    """A UUID of version 4. It is no secret, so that numbers of the process do, which a fork begins
    anew: the library's own costs a tenth of a cached answer (measured)."""
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def traced(names: Mapping[str, str] | None = None, name: str = "", role: Role = "server") -> Trace:
    """Run a block as one unit of work, caused by what headers name; nothing named: by itself.
    `name` is its span's, of few different ones; without one no span is made. `names` are headers of
    a request, whose case says nothing, or what `outgoing_headers` gave.

    Ids of a form that is not theirs are replaced: they are callers' text and go to the log.
    """
    if not names or not any(map(names.__contains__, _FORMS)):
        return Trace(name=name, role=role)
    said = {
        key: value
        for key, form in _FORMS.items()
        if (value := names.get(key)) and form.fullmatch(value)
    }
    return Trace(
        request_id=said.get(REQUEST_ID),
        trace_id=said.get(_TRACE),
        parent_span_id=said.get(_SPAN),
        decision={key: said[key] for key in (_SAMPLED, _FLAGS) if key in said},
        name=name,
        role=role,
    )


def calling(name: str) -> Trace:
    """Run a block as a call that the work at hand makes: a part of it with a span of its own."""
    work = _current.get()
    if work is None:
        return Trace(name=name, role="client")
    return Trace(work.request_id, work.trace_id, work.span_id, work.decision, name, "client")


def outgoing_headers() -> dict[str, str]:
    """Headers of a call made for the work at hand, whose span causes what is called; {} outside of
    any."""
    work = _current.get()
    return {} if work is None else work.outgoing_headers()


def mark() -> str:
    """The work at hand for a message that it causes (`trace-span`); empty where none is recorded:
    such a message is as long as it would be without."""
    work = _current.get()
    return f"{work.trace_id}-{work.span_id}" if work is not None and work.started_ns else ""


def marked(text: str, name: str) -> Trace:
    """Run a block as work that a message with this mark caused; any other text: by itself."""
    ids = _MARK.fullmatch(text)
    if ids is None:
        return Trace(name=name, role="consumer")
    return Trace(None, ids[1], ids[2], {_SAMPLED: "1"}, name, "consumer")
