"""A peer that speaks Engine.IO and Socket.IO by hand, so that tests see the very packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

PATIENCE = 5.0

NO_CLOSE = 1006
"""TCP ended without a Close frame (RFC 6455 §7.1.5): every client notices, and comes back."""


class Wire:
    """One WebSocket; ``opened`` is the OPEN packet, ``code`` the close code once closed."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.opened: dict[str, Any] = {}
        self.code: int | None = None

    async def get(self) -> str | bytes | None:
        """The next message; None when the server has closed."""
        message = await self.ws.receive(timeout=PATIENCE)
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            return message.data  # type: ignore[no-any-return]
        self.code = self.ws.close_code
        return None

    async def text(self) -> str:
        """The next text message."""
        message = await self.get()
        assert isinstance(message, str), message
        return message

    async def put(self, *messages: str | bytes) -> None:
        for message in messages:
            if isinstance(message, str):
                await self.ws.send_str(message)
            else:
                await self.ws.send_bytes(message)

    async def connect(self, namespace: str = "/", auth: Any = None) -> dict[str, Any]:
        """Join a namespace; the data of the CONNECT reply."""
        prefix = "" if namespace == "/" else namespace + ","
        body = "" if auth is None else orjson.dumps(auth).decode()
        await self.put(f"40{prefix}{body}")
        reply = await self.text()
        assert reply.startswith(f"40{prefix}{{"), reply
        data: dict[str, Any] = orjson.loads(reply[2 + len(prefix) :])
        return data

    async def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for so long (to show an absence, there is nothing to await)."""
        try:
            message = await self.ws.receive(timeout=seconds)
        except TimeoutError:
            return True
        raise AssertionError(f"came: {message}")

    async def closed(self) -> int | None:
        """Read until the server has closed; the close code."""
        while await self.get() is not None:
            pass
        return self.code


def event(text: str) -> list[Any]:
    """The arguments of an EVENT packet of the main namespace."""
    assert text.startswith("42"), text
    args: list[Any] = orjson.loads(text[text.index("[") :])
    return args


def masked(payload: bytes) -> bytes:
    """A short text frame of a client, by the mask that changes nothing."""
    return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def events(data: bytes) -> list[list[Any]]:
    """The events in a stream of server frames that may begin with the handshake."""
    found = []
    data = data.partition(b"\r\n\r\n")[2] if data.startswith(b"HTTP") else data
    while len(data) > 1:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        payload = data[start : start + size]
        if payload.startswith(b"42[") and payload.endswith(b"]"):
            found.append(orjson.loads(payload[2:]))
        data = data[start + size :]
    return found


class Site:
    """A served engine, and ways to talk to it."""

    def __init__(self, port: int, http: ClientSession) -> None:
        self.port = port
        self.http = http
        self.url = f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def wire(
        self, query: str = "EIO=4&transport=websocket", path: str = "/socket.io/", **kwargs: Any
    ) -> AsyncIterator[Wire]:
        url = f"{self.url}{path}?{query}"
        async with self.http.ws_connect(url, max_msg_size=0, **kwargs) as ws:
            wire = Wire(ws)
            if "sid=" not in query:
                opened = await wire.text()
                assert opened[0] == "0"
                wire.opened = orjson.loads(opened[1:])
            yield wire

    async def get(self, query: str, path: str = "/socket.io/") -> tuple[int, str]:
        async with self.http.get(f"{self.url}{path}?{query}") as response:
            return response.status, await response.text()

    async def post(self, sid: str, body: str | bytes, path: str = "/socket.io/") -> tuple[int, str]:
        url = f"{self.url}{path}?EIO=4&transport=polling&sid={sid}"
        async with self.http.post(url, data=body) as response:
            return response.status, await response.text()

    async def poll(self, sid: str, path: str = "/socket.io/") -> tuple[int, str]:
        return await self.get(f"EIO=4&transport=polling&sid={sid}", path)

    async def open_polling(self, path: str = "/socket.io/") -> str:
        """The session id of a new polling session."""
        status, body = await self.get("EIO=4&transport=polling", path)
        assert status == 200, body
        return str(orjson.loads(body[1:])["sid"])

    async def raw(self, data: bytes, answer: int = 65536) -> bytes:
        """Send bytes on a TCP connection of their own; what comes back first."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(answer), PATIENCE)
        finally:
            writer.close()
