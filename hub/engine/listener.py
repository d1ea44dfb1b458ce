"""Our own listening socket, and what its connections' first bytes decide."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from base64 import b64encode
from binascii import Error as BinasciiError
from binascii import a2b_base64
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .connection import Connection
from .environ import Environ, environ_of, parse_head
from .frames import Readers
from .limits import peer_address
from .options import Refusal
from .polling import Poller
from .telemetry import count

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage

    from .engine import Engine

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

KEEP_ALIVE = 75.0
"""How long an HTTP connection may idle (s): longer than a proxy in front keeps its own."""

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n\r\n"
)


class Listener:
    """Serves ``routes`` (path → engine and codec) for WebSocket, and ``app`` for the rest."""

    def __init__(self, routes: dict[str, tuple[Engine, int]], app: web.Application) -> None:
        self.routes = routes
        self.engine = next(iter(routes.values()))[0]
        self.readers = Readers(max(engine.options.max_payload for engine, _ in routes.values()))
        self.connections: set[Connection] = set()
        for engine, _ in routes.values():
            engine.take_back = self.take_back
        self._app = app
        self._runner: web.AppRunner | None = None
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
        self._runner = web.AppRunner(
            self._app, access_log=None, handler_cancellation=True, keepalive_timeout=KEEP_ALIVE
        )
        await self._runner.setup()
        sock = _bound_socket(host, port, reuse_port, self.engine.options.send_buffer)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self),
            sock=sock,
            ssl=ssl,
            ssl_handshake_timeout=self.engine.options.connect_timeout if ssl else None,
            backlog=self.engine.options.listen_backlog,
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
        if self._runner is not None:
            await self._runner.cleanup()
        if self._server is not None:
            await self._server.wait_closed()

    # first bytes

    def head_received(self, connection: Connection, data: bytes) -> None:
        """Keep a WebSocket upgrade of ours; give anything else to aiohttp."""
        if data[:4] != b"GET "[: len(data)]:
            self._hand_over(connection, data)
            return
        end = data.find(b"\r\n\r\n")
        if end < 0 and len(data) < self.engine.options.max_head:
            connection.buffer = data
            return
        path = data[4:].partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        route = self.routes.get(path)
        if end < 0 or route is None:
            self._hand_over(connection, data)
            return
        try:
            request = parse_head(data[: end + 4], asyncio.get_running_loop())
        except HttpProcessingError:
            self._hand_over(connection, data)
            return
        if request.upgrade and request.headers.get("Upgrade", "").lower() == "websocket":
            connection.engine, connection.codec = route
            self._upgrade(connection, request, data[: end + 4])
            if end + 4 < len(data):
                connection.data_received(data[end + 4 :])
        else:
            self._hand_over(connection, data)

    def _hand_over(self, connection: Connection, data: bytes) -> None:
        assert self._runner is not None
        assert self._runner.server is not None
        connection.handed_over()
        handler = self._runner.server()
        transport = connection.transport
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(data)

    async def take_back(self, request: web.Request) -> NoReturn:
        """An upgrade that came on a kept-alive connection, as proxies and pools send it: the
        transport is ours again, and aiohttp's handler, whose task this is, ends cancelled."""
        handler, transport = request.protocol, request.transport
        assert transport is not None
        tail = handler._message_tail
        handler.transport = None  # or it would close it
        connection = Connection(self)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        handler.connection_lost(None)
        self.head_received(connection, _head_of(request) + tail)
        await asyncio.get_running_loop().create_future()  # until the cancellation arrives
        raise asyncio.CancelledError

    # handshake

    def _upgrade(self, connection: Connection, request: RawRequestMessage, head: bytes) -> None:
        key = request.headers.get("Sec-WebSocket-Key", "")
        if request.headers.get("Sec-WebSocket-Version") != "13":
            _answer(connection, 426, b"Sec-WebSocket-Version: 13\r\n")
            return
        if not _is_key(key):
            _answer(connection, 400, body=b"Bad Sec-WebSocket-Key")
            return
        engine = connection.engine
        text = request.path.partition("?")[2]
        sid, opens = _read_query(text)
        forwarded = request.headers.get("X-Forwarded-For")
        peer = connection.transport.get_extra_info("peername")
        direct = str(peer[0]) if peer else ""
        address = peer_address(direct, forwarded, engine.options.trust_proxy)
        if not self._origin_allowed(engine, request, address):
            _answer(connection, 403, body=b"Origin not allowed")
            return
        accept = b64encode(sha1(key.encode() + GUID).digest())  # noqa: S324 - RFC 6455 §4.2.2
        response = SWITCHING % accept
        if sid is not None:
            self._take_over(connection, sid, response)
        elif opens:
            self._open(connection, head, response, address, text)
        else:
            _answer(connection, 400, body=b"Bad transport or protocol version")

    def _open(
        self, connection: Connection, head: bytes, response: bytes, address: str, query: str
    ) -> None:
        engine = connection.engine
        refusal = engine.admit(address, "websocket", query)
        if refusal is not None:
            refuse(connection, refusal)
            return
        connection.address = address
        sid = engine.generate_id()
        engine.sockets[sid] = connection
        connection.open(sid, Environ(head, address), response)
        count(engine.counters.opened, "websocket")
        engine.app.opened(connection)

    def _take_over(self, connection: Connection, sid: str, response: bytes) -> None:
        engine = connection.engine
        poller = engine.sockets.get(sid)
        if poller is None or poller.over:
            _answer(connection, 400, body=b'{"code":1,"message":"Session ID unknown"}')
        elif not isinstance(poller, Poller) or poller.probing:  # Node: 101, then close
            connection.transport.write(response)
            connection.transport.close()
            connection.handed_over()
        else:
            connection.start_probe(poller, response)

    def _origin_allowed(self, engine: Engine, request: RawRequestMessage, address: str) -> bool:
        origin = request.headers.get("Origin")
        if origin is None or engine.cors_allowed_origins == []:
            return True
        allowed: list[str] | None = engine._cors_allowed_origins(environ_of(request, address))
        return allowed is None or origin in allowed


def _head_of(request: web.Request) -> bytes:
    lines = [b"GET " + request.raw_path.encode() + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.raw_headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@lru_cache(maxsize=64)
def _read_query(query: str) -> tuple[str | None, bool]:
    """The session id asked for, and whether a new session may be opened. Clients that open one
    all ask with the same few strings."""
    fields = parse_qs(query, max_num_fields=64)
    opens = fields.get("EIO") == ["4"] and fields.get("transport") == ["websocket"]
    return fields.get("sid", [None])[0], opens


def _is_key(key: str) -> bool:
    """A nonce of 16 bytes in base64 (RFC 6455 §4.2.1)."""
    try:
        return len(key) == 24 and len(a2b_base64(key, strict_mode=True)) == 16
    except (BinasciiError, ValueError):
        return False


REASONS = {400: b"Bad Request", 403: b"Forbidden", 426: b"Upgrade Required"}
REASONS[503] = b"Service Unavailable"


def _answer(connection: Connection, status: int, headers: bytes = b"", body: bytes = b"") -> None:
    """Refuse the upgrade with a plain response, and close."""
    connection.transport.write(
        b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s"
        % (status, REASONS[status], len(body), headers, body)
    )
    connection.transport.close()
    connection.handed_over()


def refuse(connection: Connection, refusal: Refusal) -> None:
    """Below Socket.IO, so that stock clients come back by themselves."""
    _answer(connection, 503, b"Retry-After: %d\r\n" % refusal.retry_after)


def _bound_socket(host: str | None, port: int, reuse_port: bool, send_buffer: int) -> socket.socket:
    """What is set here is inherited by every accepted socket, at no cost for each."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(cast(Any, address))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
