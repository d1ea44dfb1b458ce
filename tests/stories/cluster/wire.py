"""One connection to a hub by hand: WebSocket, Engine.IO and Socket.IO, as little as there can be.

For many clients in one process; what stock clients do is held by stock clients beside them.
"""

import asyncio
import base64
import os
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
from websockets.frames import Frame, Opcode


class Wire(asyncio.Protocol):
    """`heard` gets each Socket.IO packet without Engine.IO's `4`, `lost` is called once at the
    end; `auth` is sent with CONNECT.
    """

    def __init__(
        self,
        host: str,
        auth: dict[str, Any],
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:
        self._host = host
        self._auth = auth
        self._heard = heard
        self._lost = lost
        self._buffer = b""
        self._switched = False
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def dial(
        cls,
        url: str,
        auth: dict[str, Any],
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> "Wire":
        """Raises OSError."""
        where = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(
            lambda: cls(where.netloc, auth, heard, lost), where.hostname or "", where.port or 80
        )
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._host}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._switched:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.abort()
                return
            self._switched, self._buffer = True, rest
        for opcode, payload in self._frames():
            if opcode == Opcode.TEXT:
                self._packet(payload)
            elif opcode == Opcode.CLOSE:
                self.abort()

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Whole frames of a server: no mask (RFC 6455 §5.1), and ours are never fragmented."""
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            size, start = buffer[at + 1] & 127, at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if len(buffer) < start:
                    break
                size = int.from_bytes(buffer[at + 2 : start])
            if len(buffer) < start + size:
                break
            yield buffer[at] & 15, buffer[start : start + size]
            at = start + size
        self._buffer = buffer[at:]

    def _packet(self, payload: bytes) -> None:
        kind = payload[:1]
        if kind == b"4":
            self._heard(payload[1:])
        elif kind == b"2":
            self._write(b"3")
        elif kind == b"0":
            self.send(b"0" + orjson.dumps(self._auth))

    def send(self, packet: bytes) -> None:
        """A Socket.IO packet."""
        self._write(b"4" + packet)

    def _write(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(Frame(Opcode.TEXT, payload).serialize(mask=True))

    def pause(self) -> None:
        """Read nothing more, as a phone in a tunnel."""
        if self._transport is not None:
            self._transport.pause_reading()

    def abort(self) -> None:
        """Without a word, as a network that broke."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._lost()
