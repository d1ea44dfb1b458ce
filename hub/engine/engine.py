"""The Engine.IO server: sessions, limits, heartbeat, and long-polling over aiohttp.

The library's helpers for CORS, compression and responses are kept; its request handler, sockets,
timers and service task are not (their faults are listed in the tests).
"""

from __future__ import annotations

import asyncio
import logging
import os
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import engineio
import orjson
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDict

from hub.plumbing.http.server import peer_of
from protocol.address import client_address
from protocol.origins import is_allowed, own_hosts

from . import reasons
from .connection import Connection
from .cork import Cork
from .environ import environ_of, scheme_of
from .handshake import METHOD, ORIGIN, REQUEST, Refused, is_websocket, read_query, refused
from .limits import Limits
from .link import Link
from .options import Handshake, Options, Refusal, Refuse
from .polling import BadRequest, Poller
from .telemetry import Counters, count
from .wheel import Wheel

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

log = logging.getLogger("hub.engine")
library_log = logging.getLogger("hub.engine.library")
library_log.setLevel(logging.WARNING)

COARSEST_TICK = 0.5
FINEST_TICK = 0.001

SLOW_AT_ONCE = 2
"""Slow consumers closed in one loop round: each takes up to 0.2 ms, most of it for its buffers."""


class App(Protocol):
    """What sits on an engine: it hears of each session and of each message."""

    def opened(self, link: Link) -> None: ...

    def text(self, link: Link, payload: bytes) -> None:
        """A text message with its packet type ("4…") before, its UTF-8 unchecked."""

    def binary(self, link: Link, payload: bytes) -> None: ...

    def closed(self, link: Link, reason: str) -> None:
        """The transport is gone; the app calls ``engine.forget`` when it needs it no more."""


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Sessions by their id are in ``sockets``, as the library has them."""

    app: App
    sockets: dict[str, Link]

    def __init__(self, *, options: Options | None = None, **kwargs: Any) -> None:
        self.options = options = options or Options()
        listed = options.cors_origins
        self._listed = (listed,) if isinstance(listed, str) else listed
        super().__init__(
            async_mode="aiohttp",
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            max_http_buffer_size=options.max_payload,
            cors_allowed_origins=[],  # ours decides
            transports=list(options.transports),
            monitor_clients=False,
            logger=library_log,
        )
        self._open_packet = (
            b'{"sid":"%%s","upgrades":%%s,"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}'
            % (
                round(options.ping_interval * 1000),
                round(options.ping_timeout * 1000),
                options.max_payload,
            )
        )
        self._random = b""
        self.counters = Counters()
        self.limits = Limits(options)
        tick = min(options.ping_interval, options.ping_timeout, options.connect_timeout) / 200
        tick = max(FINEST_TICK, min(COARSEST_TICK, tick))
        self.beats: Wheel[Link] = Wheel(tick, lambda link: link.beat())
        self.deadlines: Wheel[Link] = Wheel(tick, lambda link: link.expired())
        self.attachments: Wheel[Link] = Wheel(tick, lambda link: link.attachments_late())
        self.behind: set[Connection] = set()
        self._slow: deque[Connection] = deque()
        self.cork = Cork()
        self.refuse: Refuse | None = None
        self.draining: Refusal | None = None
        self.take_back: Callable[[web.Request], Awaitable[NoReturn]] | None = None

    # sessions

    def admit(self, address: str, transport: str, query: str) -> Refusal | None:
        """Count one more session, or say why not."""
        refusal = self.draining
        if refusal is None and self.refuse is not None:
            refusal = self.refuse(Handshake(address, transport, query))
        if refusal is None:
            refusal = self.limits.take(address)
        if refusal is not None:
            count(self.counters.refused, refusal.reason)
        return refusal

    def open_packet(self, sid: str, upgrades: tuple[str, ...]) -> bytes:
        """The data of Engine.IO's OPEN packet; times in ms."""
        return self._open_packet % (sid.encode(), orjson.dumps(upgrades))

    def generate_id(self) -> str:
        """20 random characters of a session or a member."""
        if not self._random:
            self._random = os.urandom(15 * 64)
        part, self._random = self._random[:15], self._random[15:]
        return urlsafe_b64encode(part).decode()

    def ended(self, link: Link, reason: str) -> None:
        """Called once by each link when its transport is gone or given up."""
        link.over = True
        self.limits.release(link.address)
        count(self.counters.closed, reason)
        self.app.closed(link, reason)

    def end_slow(self, connection: Connection) -> None:
        """Close it soon: a room's stalled readers reach the high mark in the same broadcast, and
        everybody else would wait while all of them are cleared away."""
        self._slow.append(connection)
        if len(self._slow) == 1:
            asyncio.get_running_loop().call_soon(self._end_slow)

    def _end_slow(self) -> None:
        for _ in range(min(SLOW_AT_ONCE, len(self._slow))):
            self._slow.popleft().end(reasons.SLOW_CONSUMER)
        if self._slow:
            asyncio.get_running_loop().call_soon(self._end_slow)

    def forget(self, link: Link) -> None:
        """Its handlers have run; a poller may still have a last word to say."""
        if isinstance(link, Poller) and link.ending:
            return
        link.closed = True
        if self.sockets.get(link.sid) is link:
            del self.sockets[link.sid]

    def waiting_bytes(self) -> int:
        """Bytes that wait in this process for connections that are behind on reading."""
        return sum(connection.waiting for connection in self.behind)

    def close(self) -> None:
        self.beats.close()
        self.deadlines.close()
        self.attachments.close()

    # long-polling

    def attach(self, app: web.Application, engineio_path: str = "engine.io") -> None:
        """Every method is routed here: what is not known is answered 400, as Node does."""
        path = f"/{engineio_path.strip('/')}/"
        app.router.add_route("*", path, self.handle_request, expect_handler=_go_on)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        if self.take_back is not None and is_websocket(request._message):
            await self.take_back(request)
        fault = self.origin_fault(request.headers)
        if fault is not None:
            answer = self._refused(fault)
        elif request.method == "OPTIONS":
            answer = self._ok()
        else:
            answer = await self._answer(request)
        if self.draining is not None:  # whoever comes back shall reach another node
            answer["headers"].append(("Connection", "close"))
        self._compress(answer, request.headers.get("Accept-Encoding", ""))
        return web.Response(
            body=answer["response"],
            status=int(answer["status"].split()[0]),
            headers=CIMultiDict(answer["headers"] + self._cross_origin(request, fault is None)),
        )

    def origin_fault(self, headers: CIMultiDictProxy[str]) -> Refused | None:
        """The same rule as at the other doors (protocol.origins)."""
        origins = headers.getall(hdrs.ORIGIN, ())
        if not origins or is_allowed(origins, self._own_hosts(headers), self._listed):
            return None
        return ORIGIN

    def _own_hosts(self, headers: CIMultiDictProxy[str]) -> list[str]:
        return own_hosts(
            headers.get("Host"),
            headers.getall("X-Forwarded-Host", ()),
            self.options.trust_proxy,
        )

    def _cross_origin(self, request: web.Request, allowed: bool) -> list[tuple[str, str]]:
        headers = [("Vary", "Origin")]
        if allowed and "Origin" in request.headers:
            headers.append(("Access-Control-Allow-Origin", request.headers["Origin"]))
            headers.append(("Access-Control-Allow-Credentials", "true"))
            if request.method == "OPTIONS":
                headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
            if (asked := request.headers.get("Access-Control-Request-Headers")) is not None:
                headers.append(("Access-Control-Allow-Headers", asked))
        return headers

    async def _answer(self, request: web.Request) -> dict[str, Any]:
        query = read_query(request._message.path.partition("?")[2])
        link = self.sockets.get(query.sid) if query.sid else None
        fault = refused(query, "polling", request.method, self.transports, known=link is not None)
        if fault is not None:
            return self._refused(fault)
        if link is None:
            return self._open(request)
        if not isinstance(link, Poller):
            return self._refused(REQUEST)
        try:
            if request.method == "GET":
                return self._ok(await link.poll())
            if request.method == "POST":
                await link.post(request)
                return self._ok()
        except BadRequest:
            return self._refusal(REQUEST)
        except (RequestPayloadError, HttpProcessingError):
            link.reject("body")
            raise
        return self._refused(METHOD)

    def _open(self, request: web.Request) -> dict[str, Any]:
        hops = self.options.trust_proxy
        transport = request.transport
        address = client_address(
            peer_of(transport) if transport is not None else "",
            request.headers.getall("X-Forwarded-For", ()),
            hops,
        )
        refusal = self.admit(address, "polling", request.query_string)
        if refusal is not None:
            return {
                "status": "503 SERVICE UNAVAILABLE",
                "headers": [("Retry-After", str(refusal.retry_after))],
                "response": b"",
            }
        sid = self.generate_id()
        codec = 1 if request.path == self.options.msgpack_path else 0
        scheme = scheme_of(request.headers, transport, hops)
        environ = environ_of(request._message, address, scheme)
        link = self.sockets[sid] = Poller(self, sid, codec, environ)
        link.start_clock()
        upgrades = ("websocket",) if "websocket" in self.transports else ()
        count(self.counters.opened, "polling")
        self.app.opened(link)
        return self._ok(link.open_packets(self.open_packet(sid, upgrades)))

    def _refused(self, fault: Refused) -> dict[str, Any]:
        count(self.counters.rejected, fault.fault)
        return self._refusal(fault)

    def _refusal(self, fault: Refused) -> dict[str, Any]:
        return {
            "status": str(fault.status),
            "headers": [("Content-Type", "application/json")],
            "response": fault.body,
        }

    def _ok(
        self, packets: Any = None, headers: Any = None, jsonp_index: Any = None
    ) -> dict[str, Any]:
        response: dict[str, Any] = super()._ok(packets, headers, jsonp_index)
        if packets is None:
            response["response"] = b"ok"
        return response

    def _compress(self, response: dict[str, Any], accepts: str) -> None:
        if len(response["response"]) < self.compression_threshold:
            return
        for encoding in (part.split(";")[0].strip() for part in accepts.split(",")):
            if encoding in self.compression_methods:
                response["response"] = getattr(self, "_" + encoding)(response["response"])
                response["headers"].append(("Content-Encoding", encoding))
                return


async def _go_on(request: web.Request) -> None:
    """Who waits with a body may send it (RFC 9110 §10.1.1). Any other expectation is no reason to
    answer an upgrade here otherwise than on a fresh connection."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.body_exists:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # this is no part of the answer
