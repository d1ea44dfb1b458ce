"""Who watches from outside: a collector of OpenTelemetry (OTLP over HTTP) and a Sentry."""

import json
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.fakes.http import HttpFake


class FakeCollector(HttpFake):
    """A received span: `{n, name, trace, span, parent, kind, failure, facts, resource}`. Step for a
    Fault's `at`: `traces`. `headers`: of the last call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}

    def steps(self) -> list[web.RouteDef]:
        return [web.post("/v1/traces", self._traces)]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.received if span["name"] == name]

    async def _traces(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.headers = dict(request.headers)
        fault = self.next_fault("traces")
        if fault is not None:
            answer = await self.act(request, fault)
            if answer is not None:
                return answer
        if request.content_type != "application/x-protobuf":
            return web.Response(status=415)
        call = ExportTraceServiceRequest.FromString(await request.read())
        for process in call.resource_spans:
            resource = facts(process.resource.attributes)
            for scope in process.scope_spans:
                for span in scope.spans:
                    await self.record(
                        {
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "span": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "kind": span.kind,
                            "ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                            "failure": span.status.message,
                            "facts": facts(span.attributes),
                            "resource": resource,
                        }
                    )
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )


def facts(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class FakeSentry(HttpFake):
    """A received item of an envelope: `{n, type, body}`. Step for a Fault's `at`: `envelope`."""

    KEY = "0123456789abcdef0123456789abcdef"

    @property
    def dsn(self) -> str:
        return f"http://{self.KEY}@127.0.0.1:{self._port}/42"

    def steps(self) -> list[web.RouteDef]:
        return [web.post("/api/42/envelope/", self._envelope)]

    async def _envelope(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if f"sentry_key={self.KEY}" not in request.headers.get("X-Sentry-Auth", ""):
            return web.json_response({"detail": "invalid project key"}, status=403)
        fault = self.next_fault("envelope")
        if fault is not None:
            answer = await self.act(request, fault)
            if answer is not None:
                return answer
        lines = (await request.read()).split(b"\n")
        for head, body in zip(lines[1::2], lines[2::2], strict=False):
            await self.record({"type": json.loads(head)["type"], "body": json.loads(body)})
        return web.json_response({"id": json.loads(lines[0]).get("event_id")})
