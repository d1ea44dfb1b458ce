"""The first bytes of a connection, and what they decide: a WebSocket upgrade of an engine's path is
accepted or refused here, any other request goes to aiohttp on the same transport, for good.

A head of our path is parsed here, as aiohttp would parse it, and what is no upgrade is not answered
here: so each request is answered once, by whom this one decision names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, NoReturn, cast

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from hub.engine.session.book import Book
from hub.engine.session.connection import Connection
from hub.engine.session.engine import Engine
from hub.engine.session.polling import Poller
from hub.engine.session.telemetry import count
from hub.engine.session.transports import Transports
from hub.engine.wire import handshake
from hub.engine.wire.environ import Environ, parse_head, scheme_of
from hub.plumbing.http.server import (
    Handler,
    HttpServer,
    coded_body,
    peer_of,
    tell_unreadable,
    unreadable,
)
from protocol.address import client_address

STATUS = {
    400: b"Bad Request",
    403: b"Forbidden",
    426: b"Upgrade Required",
    503: b"Service Unavailable",
}


class Stage(IntEnum):
    """Of the first bytes: they are READ until they are ANSWERED, or the transport is PASSED_ON."""

    READ = 0
    ANSWERED = 1
    PASSED_ON = 2


READ, ANSWERED, PASSED_ON = Stage


class Route(NamedTuple):
    """The engine that serves a path, and the parser that is spoken there."""

    engine: Engine
    codec: int


@dataclass(frozen=True, slots=True)
class Entrance:
    """What all connections of one listening socket meet: `routes` by path for WebSocket, and
    `http` for the rest; `book` has the limits and clocks of whoever has not said a path yet."""

    routes: Mapping[str, Route]
    http: HttpServer
    transports: Transports
    book: Book


class Head(asyncio.Protocol):
    """A connection until its first request is read."""

    __slots__ = ("_buffer", "_counted", "_entrance", "deadline_slot", "stage", "transport")

    transport: asyncio.Transport

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._buffer = b""
        self._counted: str | None = None  # the address it counts for
        self.stage = READ
        self.deadline_slot = 0

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = client_address(peer_of(transport), (), 0)
        if self._entrance.transports.counted.take(address):
            self.begin(cast(asyncio.Transport, transport), address)
        else:
            self.stage = ANSWERED
            cast(asyncio.Transport, transport).abort()

    def begin(self, transport: asyncio.Transport, counted: str | None) -> None:
        """This transport is ours, and counts for that address."""
        self.transport, self._counted = transport, counted
        self._within(self._entrance.book.options.connect_timeout)
        self._entrance.transports.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._entrance.transports.lost(self, self._counted)
        self._counted = None
        self._met_deadline()
        self._buffer = b""

    def _pass_on(self) -> str | None:
        """Somebody else serves this transport from now on; the address it counts for."""
        self._met_deadline()
        self.stage = PASSED_ON
        self._entrance.transports.open.discard(self)
        counted, self._counted = self._counted, None
        return counted

    def _within(self, seconds: float) -> None:
        self.deadline_slot = self._entrance.book.deadlines.add(self, seconds)

    def _met_deadline(self) -> None:
        if self.deadline_slot:
            self._entrance.book.deadlines.drop(self, self.deadline_slot)
            self.deadline_slot = 0

    def expired(self) -> None:
        """The head did not come in time, or the peer did not take its answer."""
        self.deadline_slot = 0
        self.stage = ANSWERED
        self.transport.abort()

    # The bytes.

    def data_received(self, data: bytes) -> None:
        if self.stage != READ:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if data[:4] != b"GET "[: len(data)]:
            self.hand_over(data)
            return
        end = data.find(b"\r\n\r\n")
        if end < 0 and _may_go_on(data, self._entrance.book.options.max_head):
            self._buffer = data
            return
        path = data[4:].partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        route = self._entrance.routes.get(path)
        if end < 0 or route is None:
            self.hand_over(data)
            return
        head, tail = data[: end + 4], data[end + 4 :]
        try:
            message = parse_head(head, asyncio.get_running_loop())
        except HttpProcessingError as error:
            count(self._entrance.book.counters.rejected, "head")
            tell_unreadable(error)
            self._answer(400, coded_body(unreadable()))
            return
        if handshake.is_websocket(message):
            self.upgrade(route, message, head, tail)
        else:
            self.hand_over(data)

    def hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp, for good."""
        handler = self._entrance.http.handler(self._pass_on())
        self.transport.set_protocol(handler)
        handler.connection_made(self.transport)
        handler.data_received(data)

    # The upgrade.

    def upgrade(self, route: Route, message: RawRequestMessage, head: bytes, tail: bytes) -> None:
        """Answer a WebSocket upgrade, whatever it holds; `tail` is what came behind it."""
        engine, headers = route.engine, message.headers
        if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != ["13"]:
            self._answer(426, headers=b"Sec-WebSocket-Version: 13\r\n")
            return
        response = handshake.switching(message)
        text = message.path.partition("?")[2]
        query = handshake.read_query(text)
        session = engine.sockets.get(query.sid) if query.sid else None
        known = session is not None and not session.over
        fault = engine.origin_fault(headers) or handshake.fault_in(
            query, "websocket", message.method, engine.transports, known=known
        )
        if response is None or fault is not None:
            self._refuse(engine.book, fault or handshake.REQUEST)
        elif session is None:
            self._open(route, message, head, tail, response)
        elif isinstance(session, Poller) and not session.probing:
            connection = session.prober = self._websocket(route)
            connection.start_probe(session, response)
            if tail:
                connection.data_received(tail)
        else:  # Node: 101, then close
            self._say_last(response)

    def _open(
        self, route: Route, message: RawRequestMessage, head: bytes, tail: bytes, response: bytes
    ) -> None:
        engine, headers = route.engine, message.headers
        book, address = engine.book, self._counted or ""
        hops = book.options.trust_proxy
        if hops > 0:
            address = client_address(address, headers.getall("X-Forwarded-For", ()), hops)
        refusal = book.admit(address, "websocket", message.path.partition("?")[2])
        if refusal is not None:  # below Socket.IO, so that stock clients come back by themselves
            self._answer(503, headers=b"Retry-After: %d\r\n" % refusal.retry_after)
            return
        environ: Mapping[str, Any] | None = None
        if book.options.keep_request:
            environ = Environ(head, address, scheme_of(headers, self.transport, hops))
        connection = self._websocket(route)
        connection.address = address
        sid = book.new_id()
        engine.sockets[sid] = connection
        connection.open(sid, environ, response, engine.hear)
        if tail:
            connection.data_received(tail)

    def _websocket(self, route: Route) -> Connection:
        """The transport is a WebSocket's now; its time to CONNECT goes on."""
        book, transports = route.engine.book, self._entrance.transports
        connection = Connection(book, transports, self.transport, self._counted)
        connection.codec = route.codec
        connection.deadline_slot = book.deadlines.pass_on(self, self.deadline_slot, connection)
        self._pass_on()
        transports.open.add(connection)
        self.transport.set_protocol(connection)
        return connection

    # The answer.

    def _refuse(self, book: Book, fault: handshake.Fault) -> None:
        count(book.counters.rejected, fault.label)
        self._answer(fault.status, fault.body, b"Vary: Origin\r\n")

    def _answer(self, status: int, body: bytes = b"", headers: bytes = b"") -> None:
        """Refuse the upgrade with a plain response, and close."""
        if body:
            headers += b"Content-Type: application/json\r\n"
        self._say_last(
            b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s"
            % (status, STATUS[status], len(body), headers, body)
        )

    def _say_last(self, wire: bytes) -> None:
        self._met_deadline()
        self.stage = ANSWERED
        self.transport.write(wire)
        self.transport.close()
        self._within(self._entrance.book.options.close_timeout)


async def take_back(entrance: Entrance, request: web.Request) -> NoReturn:
    """An upgrade that came on a kept-alive connection, as proxies and pools send it: the transport
    is ours, and aiohttp's handler, whose task this is, ends cancelled.

    It is answered here by the message that aiohttp has parsed, and never handed over again.
    """
    message, route = request._message, entrance.routes[request.path]
    transport, counted, tail = cast(Handler, request.protocol).give_away()
    head = Head(entrance)
    transport.set_protocol(head)
    head.begin(transport, counted)
    head.upgrade(route, message, _head_of(message), tail)
    await asyncio.get_running_loop().create_future()  # until the cancellation arrives
    raise asyncio.CancelledError


def _may_go_on(data: bytes, longest: int) -> bool:
    """Whether the end of a head is still to come: lines that end by LF alone are no HTTP, and need
    not be waited for."""
    return len(data) < longest and b"\n\n" not in data and b"\n\r\n" not in data


def _head_of(message: RawRequestMessage) -> bytes:
    lines = [b"GET %s HTTP/1.1" % message.path.encode("utf-8", "surrogateescape")]
    lines += [name + b": " + value for name, value in message.raw_headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"
