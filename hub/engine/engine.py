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
from typing import Any, NoReturn, Protocol, cast

import engineio
import orjson
from aiohttp import web

from . import reasons
from .connection import Connection
from .cork import Cork
from .limits import Limits, peer_address
from .link import Link
from .options import Handshake, Options, Refusal, Refuse
from .polling import BadRequest, Poller
from .telemetry import Counters, count
from .wheel import Wheel

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
        origins: Any = options.cors_origins
        if isinstance(origins, tuple):
            origins = list(origins) or None  # None: the request's own host only
        super().__init__(
            async_mode="aiohttp",
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            max_http_buffer_size=options.max_payload,
            cors_allowed_origins=origins,
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
        app.router.add_route("*", path, self.handle_request)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket" and self.take_back:
            await self.take_back(request)
        environ = self._async["translate_request"](request)
        peer = request.transport.get_extra_info("peername") if request.transport else None
        environ["REMOTE_ADDR"] = peer_address(
            str(peer[0]) if peer else "",
            environ.get("HTTP_X_FORWARDED_FOR"),
            self.options.trust_proxy,
        )
        response = self._origin_fault(environ)
        if response is None and request.method == "OPTIONS":
            response = self._ok()
        if response is None:
            response = await self._answer(request, environ)
        if self.draining is not None:  # whoever comes back shall reach another node
            response["headers"].append(("Connection", "close"))
        self._compress(response, environ)
        return cast(web.StreamResponse, await self._make_response(response, environ))

    def _origin_fault(self, environ: dict[str, Any]) -> dict[str, Any] | None:
        origin = environ.get("HTTP_ORIGIN")
        if origin is None or self.cors_allowed_origins == []:
            return None
        allowed: list[str] | None = self._cors_allowed_origins(environ)
        if allowed is None or origin in allowed:
            return None
        return self._fault("origin", "Origin not allowed")

    async def _answer(self, request: web.Request, environ: dict[str, Any]) -> dict[str, Any]:
        query = request.query
        if query.get("transport") != "polling" or "polling" not in self.transports:
            return self._fault("transport", "Transport unknown")
        sid = query.get("sid")
        if sid is None:
            if request.method != "GET" or query.get("EIO") != "4":
                return self._fault("handshake", "Bad handshake")
            return self._open(request, environ)
        link = self.sockets.get(sid)
        if not isinstance(link, Poller):
            return self._fault("session", "Session ID unknown")
        try:
            if request.method == "GET":
                return self._ok(await link.poll())
            if request.method == "POST":
                await link.post(request)
                return self._ok()
        except BadRequest as fault:
            return cast(dict[str, Any], self._bad_request(str(fault)))
        return self._fault("method", "Bad handshake method")

    def _open(self, request: web.Request, environ: dict[str, Any]) -> dict[str, Any]:
        refusal = self.admit(environ["REMOTE_ADDR"], "polling", request.query_string)
        if refusal is not None:
            return {
                "status": "503 SERVICE UNAVAILABLE",
                "headers": [("Retry-After", str(refusal.retry_after))],
                "response": b"",
            }
        sid = self.generate_id()
        codec = 1 if request.path == self.options.msgpack_path else 0
        link = self.sockets[sid] = Poller(self, sid, codec, environ)
        link.start_clock()
        upgrades = ("websocket",) if "websocket" in self.transports else ()
        count(self.counters.opened, "polling")
        self.app.opened(link)
        return self._ok(link.open_packets(self.open_packet(sid, upgrades)))

    def _fault(self, fault: str, message: str) -> dict[str, Any]:
        count(self.counters.rejected, fault)
        return cast(dict[str, Any], self._bad_request(message))

    def _ok(
        self, packets: Any = None, headers: Any = None, jsonp_index: Any = None
    ) -> dict[str, Any]:
        response: dict[str, Any] = super()._ok(packets, headers, jsonp_index)
        if packets is None:
            response["response"] = b"ok"
        return response

    def _compress(self, response: dict[str, Any], environ: dict[str, Any]) -> None:
        if len(response["response"]) < self.compression_threshold:
            return
        accepted = environ.get("HTTP_ACCEPT_ENCODING", "").split(",")
        for encoding in (part.split(";")[0].strip() for part in accepted):
            if encoding in self.compression_methods:
                response["response"] = getattr(self, "_" + encoding)(response["response"])
                response["headers"].append(("Content-Encoding", encoding))
                return
