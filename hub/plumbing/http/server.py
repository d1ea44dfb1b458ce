"""HTTP as aiohttp speaks it, on connections that have deadlines and are counted: the same for the
hub's port, the api's and that of the metrics.

A request's head is here within HEAD of its first byte (the first one within HEAD of the
connection), its body within BODY of its head, an answer is read on within WRITE, and who asks
nothing more is closed after IDLE. What aiohttp would say by itself, before a handler runs or when
nothing matches, is said with our codes here.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from hub.plumbing.http.connections import Connections
from hub.plumbing.telemetry import trace
from protocol.errors import Code, HubError, code_of_status

IDLE: Final = 75.0
"""Longer than proxies in front keep theirs (60 s), so that none sends into a closing connection."""

WRITE: Final = 30.0
CLOSE: Final = 5.0
LINGER: Final = 2.0
"""For what a refused caller still sends, so that it reads our answer before a reset."""

SERVER: Final = "dongne-hub"
"""Without versions: they tell which of our libraries' faults to try."""

NEVER: Final = 1e8
"""aiohttp's own keep-alive timer stands aside."""

log = structlog.get_logger(__name__)


class Prepared(web.StreamResponse):
    """An answer of 200 whose bytes, its head among them, are written as they are. For who
    `takes_prepared`. What aiohttp would make of a head, a table of headers among it, is not made.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._status = 200
        self._keep_alive = True


def takes_prepared(request: web.BaseRequest) -> bool:
    """A plain GET by HTTP/1.1 on a connection that stays open and what it is."""
    return (
        request.method == "GET"
        and request.version == HttpVersion11
        and request.keep_alive
        and not request._message.upgrade
    )


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds; see the module."""

    head: float = 10.0
    body: float = 10.0
    idle: float = IDLE
    write: float = WRITE
    close: float = CLOSE


class BodyLate(RequestPayloadError):
    """What reading a body raises when it does not come in time."""


class HttpServer:
    """An application and its connections. Close it when it was opened."""

    def __init__(
        self,
        app: web.Application,
        connections: Connections,
        times: Times | None = None,
        *,
        handler_cancellation: bool = False,
        shutdown_timeout: float = 60.0,
    ) -> None:
        self.connections = connections
        self.times = times or Times()
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=handler_cancellation,
            shutdown_timeout=shutdown_timeout,
        )
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start the application; `handler` may be called from now on."""
        await self._runner.setup()

    async def listen(self, host: str, port: int) -> int:
        """Open, and serve on a socket of its own; the port bound. Raises OSError."""
        await self.open()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.handler, host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    def handler(self, counted: str | None = None) -> "Handler":
        """The protocol of one connection; `counted`: of the address it is counted for already."""
        return Handler(self, counted)

    async def close(self) -> None:
        """Take no more, let what is being answered end, close everything."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def manager(self) -> web.Server:
        server = self._runner.server
        assert server is not None, "open it first"
        return server


class Handler(RequestHandler):
    """One connection. A deadline that moves is one number; the timer behind it is set anew when it
    fires too early, so a request costs no timer."""

    __slots__ = ("_armed", "_between", "_counted", "_due", "_http", "_kept", "_timer")

    def __init__(self, http: HttpServer, counted: str | None) -> None:
        super().__init__(
            http.manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=NEVER,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=min(LINGER, http.times.body),
            auto_decompress=False,  # work for a caller who may be refused
        )
        self._http = http
        self._counted = counted
        self._kept: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = self._due = 0.0
        self._between = False

    # the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._kept = cast(asyncio.Transport, transport)
        if self._counted is None:
            address = peer_of(self._kept)
            if not self._http.connections.take(address):
                self._kept.abort()
                return
            self._counted = address
        super().connection_made(transport)
        self._within(self._http.times.head)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._let_go()
        if self._counted is not None:
            self._http.connections.release(self._counted)
            self._counted = None
        super().connection_lost(exc)

    def give_away(self) -> tuple[asyncio.Transport, str | None, bytes]:
        """Stop serving this connection, whose request, an upgrade, is being handled: the transport,
        the address it is counted for, and the bytes behind the request. The handler's task is
        cancelled."""
        transport, counted, tail = self._kept, self._counted, self._message_tail
        assert transport is not None
        if self._buffer_paused or self._reading_paused:
            transport.resume_reading()
        self._counted = None
        self.transport = None  # or aiohttp would close it
        self.connection_lost(None)
        return transport, counted, tail

    def data_received(self, data: bytes) -> None:
        if self._between and data:
            self._between = False
            self._within(self._http.times.head)
        super().data_received(data)
        self._spoil_body()

    def _spoil_body(self) -> None:
        """Bytes of a body that cannot be read are told behind the request that waits for them."""
        request = self._current_request
        if request is None or not self._messages or request.content.is_eof():
            return
        error = getattr(self._messages[-1][0], "exc", None)
        if error is not None and request.content.exception() is None:
            request.content.set_exception(RequestPayloadError(str(type(error).__name__)))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._within(self._http.times.write)

    def resume_writing(self) -> None:
        super().resume_writing()
        times, transport = self._http.times, self._kept
        closing = transport is not None and transport.is_closing()
        self._within(times.close if closing else times.idle)

    # deadlines

    def _within(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        if self._timer is not None:
            if self._armed <= self._due:
                return
            self._timer.cancel()
        self._arm()

    def _arm(self) -> None:
        self._armed = self._due
        self._timer = self._loop.call_at(self._due, self._on_timer)

    def _let_go(self) -> None:
        self._due = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if not self._due:
            return
        if self._loop.time() < self._due:
            self._arm()
            return
        self._due = 0.0
        transport, request = self._kept, self._current_request
        assert transport is not None
        if self._paused or transport.is_closing():
            transport.abort()
        elif request is None:
            if self._messages:  # the loop is late, not the caller
                return
            self.force_close()
            self._within(self._http.times.close)
        elif not request.content.is_eof():
            request.content.set_exception(BodyLate("late"))

    # requests

    async def _handle_request(
        self, request: Any, start_time: Any, request_handler: Any
    ) -> tuple[web.StreamResponse, bool]:
        times = self._http.times
        if request.content.is_eof():
            self._due = 0.0  # a poll waits as long as its handler wants
        else:
            self._within(times.body)
        rest = times.close
        try:
            response, reset = await super()._handle_request(request, start_time, request_handler)
            if response.keep_alive and not self._close:
                rest = times.idle
            return response, reset
        finally:
            self._between = True
            if self._kept is not None and self._counted is not None and not self._paused:
                self._within(rest)

    async def finish_response(
        self, request: Any, resp: Any, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if type(resp) is Prepared:
            request._finish()
            if self.transport is None or self.transport.is_closing():
                return resp, True
            self.transport.write(resp.raw)
            return resp, False
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = _coded_exception(resp)
        if isinstance(resp, web.StreamResponse):
            resp.headers["Server"] = SERVER
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that cannot be read, or whose handler failed; the connection is closed."""
        if isinstance(exc, BodyLate):
            status, error = 408, unreadable("The body did not come in time.")
        elif isinstance(exc, (HttpProcessingError, RequestPayloadError)):
            status, error = 400, unreadable()
        else:
            status, error = 500, HubError(Code.INTERNAL)
            log.error("a request failed", exc_info=exc)
        if status < 500:
            tell_unreadable(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        response = coded(status, error)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        error = kw.get("exc_info")
        if isinstance(error, (HttpProcessingError, RequestPayloadError, ConnectionError)):
            tell_unreadable(error)
        else:
            log.error("a connection failed", exc_info=error)


def unreadable(message: str = "The request cannot be read.") -> HubError:
    return HubError(Code.INVALID_PAYLOAD, message)


def tell_unreadable(error: BaseException | None) -> None:
    """One line at a level that nobody is woken by, and nothing of what a stranger wrote."""
    log.info("a request could not be read", reason=type(error).__name__)


def coded_body(error: HubError) -> bytes:
    """JSON, as every door answers an error."""
    return orjson.dumps({"error": error.body(trace.request_id())})


def coded(status: int, error: HubError) -> web.Response:
    return web.Response(status=status, body=coded_body(error), content_type="application/json")


def _coded_exception(raised: web.HTTPException) -> web.Response:
    code = code_of_status(raised.status) if raised.status < 500 else Code.INTERNAL
    error = HubError(code, None if code is Code.INTERNAL else raised.reason)
    response = coded(raised.status, error)
    if "Allow" in raised.headers:
        response.headers["Allow"] = raised.headers["Allow"]
    if raised.keep_alive is False:
        response.force_close()
    return response


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Empty for a unix socket, or one that is gone already."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
