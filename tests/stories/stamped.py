"""Sockets by the thousand that cost nothing while something is measured: the kernel notes when
bytes came (socket(7), SO_TIMESTAMPNS), and they are read when that does not matter any more.

A program that reads five thousand sockets one by one needs longer for that than a hub to write to
them, and what it would measure is itself.
"""

import asyncio
import base64
import os
import select
import socket
import struct
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import orjson
from websockets.frames import Frame, Opcode

from tests.stories.light import PING

SO_TIMESTAMPNS: Final = 35
"""Of Linux (asm-generic/socket.h); Python does not name it."""

STAMP: Final = struct.Struct("qq")
ROOM: Final = 1 << 16


class Arrival(NamedTuple):
    """`at` is on the clock of time.time(); it is too late unless this was the `last` that came."""

    at: float
    data: bytes
    last: bool


class Crowd:
    """Engine.IO over WebSocket, written by hand; `needle` is in what is waited for."""

    def __init__(self, url: str, needle: bytes) -> None:
        self._url = urlsplit(url)
        self._needle = needle
        self._ready = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self.arrivals: dict[int, list[Arrival]] = {}

    async def add(self, token: str) -> None:
        """Another one, connected. Raises TimeoutError, AssertionError when it is refused."""
        one = socket.socket()
        one.setblocking(False)
        self._sockets[one.fileno()] = one
        async with asyncio.timeout(20):
            await self._connect(one, token)
        one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.arrivals[one.fileno()] = []
        self._ready.register(one, select.EPOLLIN)

    async def _connect(self, one: socket.socket, token: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, (self._url.hostname, self._url.port))
        key = base64.b64encode(os.urandom(16)).decode()
        await loop.sock_sendall(
            one,
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode(),
        )
        await self._until(one, b'0{"sid"')
        auth = orjson.dumps({"token": token, "recovery": False})
        await loop.sock_sendall(one, _text(b"40" + auth))
        await self._until(one, b'"ready"')

    async def _until(self, one: socket.socket, words: bytes) -> None:
        head = b""
        while words not in head:
            head += (more := await asyncio.get_running_loop().sock_recv(one, ROOM))
            assert more, head

    def read(self) -> None:
        """What has come to all of them since."""
        for number, _ in self._ready.poll(0, max(1, len(self._sockets))):
            data, notes, _, _ = self._sockets[number].recvmsg(ROOM, 64)
            assert data, "the hub has closed a socket"
            if PING in data:
                self._sockets[number].send(_text(b"3"))
            if self._needle in data:
                (_, _, stamp), *_ = notes
                seconds, nanoseconds = STAMP.unpack(stamp)
                last = self._needle in _last_frame(data)
                self.arrivals[number].append(Arrival(seconds + nanoseconds / 1e9, data, last))

    def close(self) -> None:
        self._ready.close()
        for one in self._sockets.values():
            one.close()


def _last_frame(data: bytes) -> bytes:
    """Of whole frames that a server sent (RFC 6455 §5.2): short, or of up to 64 KiB."""
    begin = end = 0
    while end < len(data):
        begin, size = end, data[end + 1]
        head = 2
        if size == 126:
            head, size = 4, int.from_bytes(data[end + 2 : end + 4])
        end += head + size
    return data[begin:]


def _text(payload: bytes) -> bytes:
    return Frame(Opcode.TEXT, payload).serialize(mask=True)
