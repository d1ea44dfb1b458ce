"""The Engine.IO server: what is asked of it over HTTP, which is long-polling.

The library's helpers for CORS, compression and responses are kept; its request handler, sockets,
timers and service task are not (their faults are listed in the tests).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn, cast

import engineio
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDict, CIMultiDictProxy

from hub.engine.session.book import Book
from hub.engine.session.link import Hear, Link
from hub.engine.session.polling import BadRequest, Poller
from hub.engine.session.telemetry import count
from hub.engine.wire.environ import environ_of, scheme_of
from hub.engine.wire.handshake import (
    METHOD,
    ORIGIN,
    REQUEST,
    Fault,
    fault_in,
    is_websocket,
    read_query,
)
from hub.plumbing.http.server import BodyLate, peer_of
from protocol.address import client_address
from protocol.origins import is_allowed, own_hosts

library_log = logging.getLogger("hub.engine.library")
library_log.setLevel(logging.WARNING)

TakeBack = Callable[[web.Request], Awaitable[NoReturn]]
"""Takes a WebSocket upgrade that came by way of aiohttp."""


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Sessions by their id are in `sockets`, as the library has them. `hear` gives what sits on a
    new one."""

    sockets: dict[str, Link]

    def __init__(self, *, book: Book, hear: Hear, **kwargs: Any) -> None:
        self.book = book
        self.hear = hear
        options = book.options
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
        # The book knows sessions by what it asks of them; those of an engine are links.
        self.sockets = cast(dict[str, Link], book.sessions)

    def generate_id(self) -> str:
        return self.book.new_id()

    def attach(
        self,
        app: web.Application,
        engineio_path: str = "engine.io",
        take_back: TakeBack | None = None,
    ) -> None:
        """Every method is routed here: what is not known is answered 400, as Node does."""
        path = f"/{engineio_path.strip('/')}/"
        handler = partial(self.handle_request, take_back=take_back)
        app.router.add_route("*", path, handler, expect_handler=_go_on)

    async def handle_request(
        self, request: web.Request, take_back: TakeBack | None = None
    ) -> web.StreamResponse:
        if take_back is not None and is_websocket(request._message):
            await take_back(request)
        fault = self.origin_fault(request.headers)
        if fault is not None:
            answer = self._refused(fault)
        elif request.method == "OPTIONS":
            answer = self._ok()
        else:
            answer = await self._answer(request)
        if self.book.draining is not None:  # whoever comes back shall reach another node
            answer["headers"].append(("Connection", "close"))
        self._compress(answer, request.headers.get("Accept-Encoding", ""))
        return web.Response(
            body=answer["response"],
            status=int(answer["status"].split()[0]),
            headers=CIMultiDict(answer["headers"] + self._cross_origin(request, fault is None)),
        )

    def origin_fault(self, headers: CIMultiDictProxy[str]) -> Fault | None:
        """The same rule as at the other doors (protocol.origins)."""
        origins = headers.getall(hdrs.ORIGIN, ())
        if not origins or is_allowed(origins, self._own_hosts(headers), self._listed):
            return None
        return ORIGIN

    def _own_hosts(self, headers: CIMultiDictProxy[str]) -> list[str]:
        return own_hosts(
            headers.get("Host"),
            headers.getall("X-Forwarded-Host", ()),
            self.book.options.trust_proxy,
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
        fault = fault_in(query, "polling", request.method, self.transports, known=link is not None)
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
        except BodyLate:
            link.reject("body_late")
            return self._refusal(REQUEST)
        except (RequestPayloadError, HttpProcessingError):
            link.reject("body")
            raise
        return self._refused(METHOD)

    def _open(self, request: web.Request) -> dict[str, Any]:
        hops = self.book.options.trust_proxy
        transport = request.transport
        address = client_address(
            peer_of(transport) if transport is not None else "",
            request.headers.getall("X-Forwarded-For", ()),
            hops,
        )
        refusal = self.book.admit(address, "polling", request.query_string)
        if refusal is not None:
            return {
                "status": "503 SERVICE UNAVAILABLE",
                "headers": [("Retry-After", str(refusal.retry_after))],
                "response": b"",
            }
        sid = self.book.new_id()
        codec = 1 if request.path == self.book.options.msgpack_path else 0
        scheme = scheme_of(request.headers, transport, hops)
        environ = environ_of(request._message, address, scheme)
        link = self.sockets[sid] = Poller(self.book, sid, codec, environ)
        link.start_clock()
        link.hearer = self.hear(link)
        upgrades = ("websocket",) if "websocket" in self.transports else ()
        return self._ok(link.open_packets(self.book.open_packet(sid, upgrades)))

    def _refused(self, fault: Fault) -> dict[str, Any]:
        count(self.book.counters.rejected, fault.label)
        return self._refusal(fault)

    def _refusal(self, fault: Fault) -> dict[str, Any]:
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
