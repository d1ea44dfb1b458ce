"""A socket as light as can be, for measuring: it notes when bytes came and reads them later."""

import asyncio
import base64
import os
from time import monotonic
from typing import Final, cast
from urllib.parse import urlsplit

import orjson
from websockets.frames import Frame, Opcode

PING: Final = b"\x81\x012"
"""A whole frame; no other holds these bytes, and it may come between others in one read."""


class LightSocket(asyncio.Protocol):
    """Engine.IO over WebSocket, written by hand: 101, OPEN, CONNECT, then times of arrival."""

    def __init__(self, url: str, token: str, needle: bytes) -> None:
        self._url = urlsplit(url)
        self._token = token
        self._needle = needle
        self._head = b""
        self._asked = False
        self._transport: asyncio.Transport | None = None
        self.ready = asyncio.get_running_loop().create_future()
        self.arrivals: list[tuple[float, bytes]] = []

    async def connect(self) -> "LightSocket":
        loop = asyncio.get_running_loop()
        host, port = self._url.hostname, self._url.port
        assert host is not None
        assert port is not None
        await loop.create_connection(lambda: self, host, port)
        async with asyncio.timeout(10):
            await self.ready
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        if PING in data:
            self._send(b"3")
        if self._needle in data:
            self.arrivals.append((now, data))
        elif not self.ready.done():
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        self._head += data
        if b'0{"sid"' in self._head and not self._asked:
            auth = orjson.dumps({"token": self._token, "recovery": False})
            self._asked = True
            self._send(b"40" + auth)
        elif b'"ready"' in data:
            self.ready.set_result(None)

    def _send(self, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(Frame(Opcode.TEXT, payload).serialize(mask=True))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
