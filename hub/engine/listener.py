"""Our own listening socket, and what its connections' first bytes decide."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from typing import TYPE_CHECKING, NoReturn, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from hub.plumbing.http.binding import bound_socket
from hub.plumbing.http.connections import connections_of_door
from hub.plumbing.http.server import (
    Handler,
    HttpServer,
    Times,
    coded_body,
    tell_unreadable,
    unreadable,
)
from protocol.address import client_address

from . import handshake
from .connection import Connection
from .environ import Environ, parse_head, scheme_of
from .frames import Readers
from .handshake import Refused, is_websocket, read_query, switching
from .link import Link
from .options import Refusal
from .polling import Poller
from .telemetry import count

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage

    from .engine import Engine


class Listener:
    """Serves ``routes`` (path → engine and codec) for WebSocket, and ``app`` for the rest."""

    def __init__(self, routes: dict[str, tuple[Engine, int]], app: web.Application) -> None:
        self.routes = routes
        self.engine = next(iter(routes.values()))[0]
        self.readers = Readers(max(engine.options.max_payload for engine, _ in routes.values()))
        self.connections: set[Connection] = set()
        for engine, _ in routes.values():
            engine.take_back = self.take_back
        options = self.engine.options
        self.counted = connections_of_door(
            options.trust_proxy, options.conn_max_ip, options.conn_max_node
        )
        self._http = HttpServer(
            app,
            self.counted,
            Times(head=options.connect_timeout, body=options.connect_timeout),
            handler_cancellation=True,
        )
        self._server: asyncio.Server | None = None
        self._shared = False

    async def start(
        self,
        host: str | None,
        port: int,
        ssl: ssl_module.SSLContext | None = None,
        reuse_port: bool = False,
    ) -> int:
        """Listen; the port bound. Raises OSError."""
        self._shared = reuse_port
        options = self.engine.options
        await self._http.open()
        sock = bound_socket(host, port, shared=reuse_port)
        if options.send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self),
            sock=sock,
            ssl=ssl,
            ssl_handshake_timeout=options.connect_timeout if ssl else None,
            ssl_shutdown_timeout=options.close_timeout if ssl else None,
            backlog=options.listen_backlog,
        )
        return int(sock.getsockname()[1])

    def refuse_new(self) -> None:
        """On a port shared with other processes the kernel gives them what comes from now on; on
        one of its own the socket stays, so that clients are told when to come back."""
        if self._shared:
            self.stop_listening()

    def stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Close the socket and every connection."""
        self.stop_listening()
        for connection in list(self.connections):
            connection.transport.abort()
        await self._http.close()
        if self._server is not None:
            await self._server.wait_closed()

    # first bytes

    def head_received(self, connection: Connection, data: bytes) -> None:
        """Keep a WebSocket upgrade of ours, and give anything else to aiohttp for good.

        A head of our path is parsed here, as aiohttp would parse it, and what is no upgrade is not
        answered here: so each request is answered once, by whom this one decision names.
        """
        if data[:4] != b"GET "[: len(data)]:
            self._hand_over(connection, data)
            return
        end = data.find(b"\r\n\r\n")
        if end < 0 and _may_go_on(data, self.engine.options.max_head):
            connection.buffer = data
            return
        path = data[4:].partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        route = self.routes.get(path)
        if end < 0 or route is None:
            self._hand_over(connection, data)
            return
        head, tail = data[: end + 4], data[end + 4 :]
        try:
            message = parse_head(head, asyncio.get_running_loop())
        except HttpProcessingError as error:
            count(self.engine.counters.rejected, "head")
            tell_unreadable(error)
            _answer(connection, 400, coded_body(unreadable()))
            return
        if is_websocket(message):
            self._upgrade(connection, route, message, head, tail)
        else:
            self._hand_over(connection, data)

    def _hand_over(self, connection: Connection, data: bytes) -> None:
        handler = self._http.handler(connection.give_away())
        transport = connection.transport
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(data)

    async def take_back(self, request: web.Request) -> NoReturn:
        """An upgrade that came on a kept-alive connection, as proxies and pools send it: the
        transport is ours, and aiohttp's handler, whose task this is, ends cancelled.

        It is answered here by the message that aiohttp has parsed, and never handed over again.
        """
        message, route = request._message, self.routes[request.path]
        handler = cast(Handler, request.protocol)
        transport, counted, tail = handler.give_away()
        connection = Connection(self)
        transport.set_protocol(connection)
        connection.taken_back(transport, counted)
        self._upgrade(connection, route, message, _head_of(message), tail)
        await asyncio.get_running_loop().create_future()  # until the cancellation arrives
        raise asyncio.CancelledError

    # handshake

    def _upgrade(
        self,
        connection: Connection,
        route: tuple[Engine, int],
        message: RawRequestMessage,
        head: bytes,
        tail: bytes,
    ) -> None:
        """Answer a WebSocket upgrade, whatever it holds."""
        connection.engine, connection.codec = route
        engine = connection.engine
        headers, text = message.headers, message.path.partition("?")[2]
        if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != ["13"]:
            _answer(connection, 426, headers=b"Sec-WebSocket-Version: 13\r\n")
            return
        response = switching(message)
        query = read_query(text)
        link = engine.sockets.get(query.sid) if query.sid else None
        fault = engine.origin_fault(headers) or handshake.refused(
            query,
            "websocket",
            message.method,
            engine.transports,
            known=link is not None and not link.over,
        )
        if response is None or fault is not None:
            _refuse(connection, fault or handshake.REQUEST)
        elif link is not None:
            _take_over(connection, link, response)
        else:
            hops = engine.options.trust_proxy
            address = connection.counted or ""
            if hops > 0:
                address = client_address(address, headers.getall("X-Forwarded-For", ()), hops)
            environ = Environ(head, address, scheme_of(headers, connection.transport, hops))
            self._open(connection, environ, response, address, text)
        if tail:
            connection.data_received(tail)

    def _open(
        self, connection: Connection, environ: Environ, response: bytes, address: str, query: str
    ) -> None:
        engine = connection.engine
        refusal = engine.admit(address, "websocket", query)
        if refusal is not None:
            refuse(connection, refusal)
            return
        connection.address = address
        sid = engine.generate_id()
        engine.sockets[sid] = connection
        connection.open(sid, environ, response)
        count(engine.counters.opened, "websocket")
        engine.app.opened(connection)


def _may_go_on(data: bytes, longest: int) -> bool:
    """Whether the end of a head is still to come: lines that end by LF alone are no HTTP, and need
    not be waited for."""
    return len(data) < longest and b"\n\n" not in data and b"\n\r\n" not in data


def _head_of(message: RawRequestMessage) -> bytes:
    lines = [b"GET %s HTTP/1.1" % message.path.encode("utf-8", "surrogateescape")]
    lines += [name + b": " + value for name, value in message.raw_headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _take_over(connection: Connection, link: Link, response: bytes) -> None:
    if not isinstance(link, Poller) or link.probing:  # Node: 101, then close
        connection.answer(response)
    else:
        connection.start_probe(link, response)


REASONS = {400: b"Bad Request", 403: b"Forbidden", 426: b"Upgrade Required"}
REASONS[503] = b"Service Unavailable"


def _answer(connection: Connection, status: int, body: bytes = b"", headers: bytes = b"") -> None:
    """Refuse the upgrade with a plain response, and close."""
    if body:
        headers += b"Content-Type: application/json\r\n"
    connection.answer(
        b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s"
        % (status, REASONS[status], len(body), headers, body)
    )


def _refuse(connection: Connection, fault: Refused) -> None:
    count(connection.engine.counters.rejected, fault.fault)
    _answer(connection, fault.status, fault.body, b"Vary: Origin\r\n")


def refuse(connection: Connection, refusal: Refusal) -> None:
    """Below Socket.IO, so that stock clients come back by themselves."""
    _answer(connection, 503, headers=b"Retry-After: %d\r\n" % refusal.retry_after)
