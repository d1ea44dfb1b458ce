"""One way in and one way out for every request.

In: identify, limit, read, act. Out: the answer or the one coded error, its headers, one line in
the log, one count in the metrics. Nothing else in this package handles an exception.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import msgspec
import structlog
from aiohttp import web

from api.admission import METER, READS, Meter, check_own, identify, seconds, subject
from api.bodies import Bodies, Shared
from api.headers import Answer, finish, is_preflight, prepared, shared
from api.once import Once
from api.peer import address_of, origin_allowed
from api.reading import agent_of, body_of, key_of, path_of, query_of
from api.refusals import Refusal
from api.route import Call, Caller, Route
from hub.domain.context import Domain
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.process import Web
from hub.plumbing.stores.redis_client import AWAY
from hub.plumbing.telemetry import metrics
from hub.plumbing.telemetry.logs import AccessLog
from hub.plumbing.telemetry.trace import Trace, traced
from protocol.errors import ERRORS, Code, HubError, forbidden, unavailable
from protocol.tokens import Token

log = structlog.get_logger(__name__)

Next = Callable[[web.Request], Awaitable[web.StreamResponse | Shared]]

CALLER = web.RequestKey("caller", object)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Gate:
    domain: Domain
    limits: Limits
    part: Web
    access: AccessLog
    bodies: Bodies = field(default_factory=Bodies)

    def handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """What aiohttp calls for a route of the table; it hands on what it is given, and the
        middleware makes an answer of it."""
        handle = partial(self._serve, route)
        return cast(Callable[[web.Request], Awaitable[web.StreamResponse]], handle)

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse | Shared:
        caller = await identify(self.domain, route, request)
        request[CALLER] = caller
        meter = request[METER] = Meter(self.limits, self.part)
        address = address_of(request, self.part.trust_proxy)
        counted = meter.of_call(route, caller, address)
        if counted is not None:
            await meter.check(*counted)
        path = path_of(request)
        check_own(route, caller, path)
        raw, body = (b"", None) if route.body is None else await body_of(request, route)
        if route.rate.by or caller is not None:
            await meter.body(route, caller, body)
        call = Call(
            domain=self.domain,
            caller=caller,
            path=path,
            body=body,
            query=query_of(request, route.query),
            once=_once(route, request, caller, raw) if route.idempotent else None,
            address=address,
            user_agent=agent_of(request),
            settings=self.part,
            request=request,
        )
        answer = await route.handler(call)
        if route.cache_s and isinstance(answer, msgspec.Struct):
            return self._shared(route, caller, answer)
        response = self._answered(route, caller, answer)
        if request.method not in READS and isinstance(caller, Token):
            await self.domain.reads.wrote(caller.user_id)
        response.headers.update(call.headers)
        return response

    def _shared(self, route: Route, caller: Caller, answer: msgspec.Struct) -> Shared:
        """What comes from our own cache."""
        body = self.bodies.of(answer)
        return Shared(body, "" if caller is not None else route.cache_control)

    def _answered(
        self, route: Route, caller: Caller, answer: msgspec.Struct | web.Response | None
    ) -> web.Response:
        if isinstance(answer, web.Response):
            response = answer
        elif answer is None:
            response = web.Response(status=204)
        else:
            response = Answer(route.status, msgspec.json.encode(answer))
        if route.cache_control and caller is None:
            response.headers["Cache-Control"] = route.cache_control
        return response

    @web.middleware
    async def middleware(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """Around everything, what no route matches included."""
        metrics.HTTP_UNDER_WAY.now += 1
        start = time.perf_counter()
        method, pattern = _method(request), pattern_of(request)
        try:
            with traced(request.headers, f"{method} {pattern}") as trace:
                answer = await self._guarded(request, handler, trace)
                response = self._finished(request, answer, trace)
                status = response.status
                if trace.started_ns:
                    failure = str(status) if status >= 500 else ""  # as OpenTelemetry says
                    trace.note({"http.response.status_code": status}, failure)
                took_s = time.perf_counter() - start
                metrics.HTTP_REQUESTS.count((method, pattern, str(status)), took_s)
                if self.access.wants_request(status, took_s):
                    self._tell(request, status, took_s)
                return response
        finally:
            metrics.HTTP_UNDER_WAY.now -= 1

    def _finished(
        self, request: web.Request, answer: web.StreamResponse | Shared, trace: Trace
    ) -> web.StreamResponse:
        meter = request.get(METER)
        if isinstance(answer, Shared):
            whole = prepared(request, answer, trace, meter, self.part)
            if whole is not None:
                return whole
            answer = shared(answer)
        response = answer
        if meter is not None:
            response.headers.update(meter.headers)
        finish(request, response, trace, self.part)
        return response

    async def _guarded(
        self, request: web.Request, handler: Next, trace: Trace
    ) -> web.StreamResponse | Shared:
        try:
            if not origin_allowed(request, self.part.cors_origins, self.part.trust_proxy):
                raise forbidden("This Origin is not allowed.")
            if is_preflight(request):
                return web.Response(status=204)
            return await handler(request)
        except web.HTTPRedirection as elsewhere:  # aiohttp raises it, and wants another returned
            told = elsewhere.headers
            headers = {name: told[name] for name in ("Location", "ETag") if name in told}
            return web.Response(status=elsewhere.status, headers=headers)
        except Exception as error:
            return _failed(request, as_coded(error), trace)

    def _tell(self, request: web.Request, status: int, took_s: float) -> None:
        caller = request.get(CALLER)
        self.access.request(
            method=request.method,
            path=request.path[:300],
            status=status,
            seconds=took_s,
            userAgent=request.headers.get("User-Agent", "")[:300],
            ip=address_of(request, self.part.trust_proxy),
            userId=caller.user_id if isinstance(caller, Token) else None,
        )


def _once(route: Route, request: web.Request, caller: Caller, raw: bytes) -> Once | None:
    key = key_of(request)
    if key is None:
        return None
    return Once(subject(caller), f"{route.method} {request.path}", key, raw)


def as_coded(error: Exception) -> HubError:
    """The one place where an exception becomes a code (product.md, Codes)."""
    if isinstance(error, HubError):
        return error
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return Refusal(405, f"This path does not take {error.method}.", Allow=allow)
    if isinstance(error, web.HTTPNotFound):
        return Refusal(404, "There is no such path.")
    if isinstance(error, web.HTTPException) and 400 <= error.status < 500:
        return Refusal(error.status, "The request cannot be read.")
    if isinstance(error, ConnectionResetError):
        return Refusal(400, "The caller went away.")
    if isinstance(error, AWAY):
        return unavailable("A store is away.")
    log.error("a request failed", exc_info=error)
    return HubError(Code.INTERNAL)


def _failed(request: web.Request, error: HubError, trace: Trace) -> web.Response:
    metrics.ERRORS.labels(door="http", code=error.code).inc()
    response = Answer(error.status, msgspec.json.encode({"error": error.body(trace.request_id)}))
    if isinstance(error, Refusal):
        response.headers.update(error.headers)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if ERRORS[error.code].retry:
        response.headers["Retry-After"] = seconds(error.retry_after_ms or 1000)
    return response


def pattern_of(request: web.Request) -> str:
    """The matched route's pattern; `unknown` for everything else (S1-45)."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else metrics.UNKNOWN


def _method(request: web.Request) -> str:
    return request.method if request.method in METHODS else metrics.UNKNOWN
