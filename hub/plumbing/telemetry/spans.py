"""Spans of OpenTelemetry, in the form of its protocol, of the work that is sampled.

They are made where the work ends, in the loop: no thread computes beside the sockets. What takes
them (`put`) keeps a bounded number and sends them later.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from hub.plumbing.telemetry.trace import Fact, Trace

_KINDS: Final = {
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
    "consumer": Span.SPAN_KIND_CONSUMER,
}


class Spans:
    """hub.plumbing.telemetry.trace.Recorder. Of the work that nobody called it takes a share of
    `rate`, by the trace's id: every process would decide the same.
    """

    def __init__(self, rate: float, put: Callable[[Span], None]) -> None:
        self._below = int(rate * 2**64)
        self._put = put

    def takes(self, trace_id: str) -> bool:
        return int(trace_id[-16:], 16) < self._below

    def ended(self, work: Trace) -> None:
        self._put(span_of(work, time.time_ns()))


def span_of(work: Trace, ended_ns: int) -> Span:
    """A failure is a status with its word; a request's id is an attribute, so that a line in the
    log and its span find each other.
    """
    failed = Status(code=Status.STATUS_CODE_ERROR, message=work.failure) if work.failure else None
    return Span(
        trace_id=bytes.fromhex(work.trace_id.zfill(32)),
        span_id=bytes.fromhex(work.span_id),
        parent_span_id=bytes.fromhex(work.parent_span_id or ""),
        name=work.name,
        kind=_KINDS[work.role],
        start_time_unix_nano=work.started_ns,
        end_time_unix_nano=ended_ns,
        attributes=_attributes({"request.id": work.request_id, **work.facts}),
        status=failed,
    )


def packed(resource: Mapping[str, Fact], spans: Sequence[Span]) -> bytes:
    """One call of OTLP over HTTP: `resource` says which process made them."""
    of_scope = ScopeSpans(scope=InstrumentationScope(name="dongne"), spans=spans)
    of_process = ResourceSpans(
        resource=Resource(attributes=_attributes(resource)), scope_spans=[of_scope]
    )
    call: bytes = ExportTraceServiceRequest(resource_spans=[of_process]).SerializeToString()
    return call


def _attributes(facts: Mapping[str, Fact]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(fact)) for name, fact in facts.items()]


def _value(fact: Fact) -> AnyValue:
    if isinstance(fact, bool):
        return AnyValue(bool_value=fact)
    return AnyValue(int_value=fact) if isinstance(fact, int) else AnyValue(string_value=fact)
