"""Our own listening socket."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from functools import partial

from aiohttp import web

from hub.engine.session.head import Entrance, Head, Route, take_back
from hub.engine.session.transports import Transports
from hub.engine.wire.frames import Readers
from hub.plumbing.http.binding import bound_socket
from hub.plumbing.http.connections import connections_of_door
from hub.plumbing.http.server import HttpServer, Times


class Listener:
    """Serves `routes` (by path) for WebSocket and polling, and `app` for the rest."""

    def __init__(self, routes: dict[str, Route], app: web.Application) -> None:
        books = [route.engine.book for route in routes.values()]
        self._options = options = books[0].options
        counted = connections_of_door(
            options.trust_proxy, options.conn_max_ip, options.conn_max_node
        )
        readers = Readers(max(book.options.max_payload for book in books))
        self.transports = Transports(counted, readers)
        times = Times(head=options.connect_timeout, body=options.connect_timeout)
        self._http = HttpServer(app, counted, times, handler_cancellation=True)
        self.entrance = Entrance(routes, self._http, self.transports, books[0])
        for path, route in routes.items():
            route.engine.attach(app, path, partial(take_back, self.entrance))
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
        options = self._options
        await self._http.open()
        sock = bound_socket(host, port, shared=reuse_port)
        if options.send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._server = await asyncio.get_running_loop().create_server(
            partial(Head, self.entrance),
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
        for carried in list(self.transports.open):
            carried.transport.abort()
        await self._http.close()
        if self._server is not None:
            await self._server.wait_closed()
