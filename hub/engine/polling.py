"""A session carried by HTTP requests: a GET waits for packets, a POST brings some."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import reasons
from .backlog import Backlog
from .events import Event
from .frames import TEXT, Part
from .link import IDLE, Link
from .telemetry import count

if TYPE_CHECKING:
    from .connection import Connection
    from .engine import Engine

SEPARATOR = b"\x1e"
UPGRADE_WAIT = 0.03
"""A poll may overtake the packet that ends the upgrade; so long it waits for it (s)."""


class BadRequest(Exception):
    """A request that is answered 400; the text says why."""


class Encoded:
    """A packet for the library's payload encoder."""

    __slots__ = ("text",)

    def __init__(self, part: Part) -> None:
        opcode, data = part
        self.text = data.decode() if opcode == TEXT else "b" + b64encode(data).decode()

    def encode(self, b64: bool = False) -> str:
        return self.text


NOOP = Encoded((TEXT, b"6"))
CLOSE = Encoded((TEXT, b"1"))


class Poller(Link):
    """``probing`` while a WebSocket is about to take the session over; ``ending`` once the
    server has closed it and only what it said last waits for a poll."""

    __slots__ = (
        "_closed_by_peer",
        "_environ",
        "_moved",
        "_queue",
        "_waiter",
        "ending",
        "probing",
        "upgraded",
    )

    def __init__(self, engine: Engine, sid: str, codec: int, environ: dict[str, Any]) -> None:
        super().__init__()
        self.engine = engine
        self.sid = sid
        self.codec = codec
        environ.pop("wsgi.input", None)
        environ.pop("aiohttp.request", None)
        self._environ = environ
        self.address = environ["REMOTE_ADDR"]
        self._queue: Backlog[tuple[Part, ...]] = Backlog()
        self._waiter: asyncio.Future[None] | None = None
        self._moved: asyncio.Event | None = None
        self._closed_by_peer = False
        self.upgraded = False
        self.probing = False
        self.ending = False

    @property
    def environ(self) -> Mapping[str, Any]:
        return self._environ

    def open_packets(self, opened: bytes) -> list[Encoded]:
        return [Encoded((TEXT, b"0" + opened)), *self._take()]

    # requests

    async def poll(self) -> list[Encoded]:
        """The packets for one GET, at least one. Raises BadRequest."""
        self.engine.beats.catch_up()
        if self.closed:
            raise BadRequest("session")
        if self._waiter is not None:
            raise self._bad("poll_overlap")
        if self.probing:
            return await self._poll_while_probing()
        packets = self._take()
        if not packets and not self.over:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:  # the peer is gone, and with it what was sent last
                self.end(reasons.TRANSPORT_ERROR)
                raise
            finally:
                self._waiter = None
            packets = [] if self.probing else self._take()
        if packets and self.ending:  # CLOSE beside it would be heard before it
            return packets
        if self.ending:
            self._forget()
        if self.over and not self._closed_by_peer:
            packets.append(CLOSE)
        return packets or [NOOP]

    async def _poll_while_probing(self) -> list[Encoded]:
        if self._moved is None:
            self._moved = asyncio.Event()
        try:
            await asyncio.wait_for(self._moved.wait(), UPGRADE_WAIT)
        except TimeoutError:
            return [NOOP]
        raise BadRequest("upgraded")

    async def post(self, request: web.Request) -> None:
        """Take the packets of one body. Raises BadRequest."""
        body = await _read(request, self.engine.options.max_payload)
        if body is None:
            raise self._bad("payload_too_big")
        self.take_body(body)

    def take_body(self, body: bytes) -> None:
        """The packets of one body. Raises BadRequest."""
        counters = self.engine.counters
        counters.bytes_in += len(body)
        for packet in body.split(SEPARATOR):
            if self.over:
                return
            counters.frames_in += 1
            self._packet(packet)

    def _packet(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == b"4":
            self.engine.app.text(self, packet)
        elif kind == b"b":
            try:
                data = b64decode(packet[1:], validate=True)
            except ValueError:
                raise self._bad("base64") from None
            self.engine.app.binary(self, data)
        elif kind == b"3":
            self.pong()
        elif packet == b"1":
            self._closed_by_peer = True
            self.end(reasons.TRANSPORT_CLOSE)
        elif kind not in IDLE:
            raise self._bad("engine_packet")

    def _bad(self, fault: str) -> BadRequest:
        self.reject(fault)
        return BadRequest(fault)

    def _take(self) -> list[Encoded]:
        packets = []
        while (parts := self._queue.pop()) is not None:
            packets.extend([Encoded(part) for part in parts])
        self.engine.counters.frames_out += len(packets)
        self.engine.counters.bytes_out += sum(len(packet.text) for packet in packets)
        return packets

    # Link

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        if self.over:
            return
        waiting, size = self._queue.bytes, _size(parts)
        if waiting and waiting + size > self.engine.options.backlog_high:
            self.end(reasons.SLOW_CONSUMER)
            return
        self._queue.append(parts, size)
        self._wake()

    def send_text(self, payload: bytes) -> None:
        self.send_parts(((TEXT, payload),))

    def push(self, event: Event, plain: bool) -> None:
        parts = event.parts(self.codec, plain)
        if event.kind != "volatile" or self._queue.bytes <= self.engine.options.backlog_low:
            self.send_parts(parts)
        elif event.key is None:
            count(self.engine.counters.dropped, "volatile")
        else:
            dropped = self._queue.keep_newest(event.key, parts, _size(parts))
            count(self.engine.counters.dropped, "volatile", dropped)

    def ping(self) -> None:
        self.send_parts(((TEXT, b"2"),))

    def reject(self, fault: str) -> None:
        count(self.engine.counters.rejected, fault)
        self.end(reasons.BAD_PACKET)

    def end(self, reason: str, code: int = 1000) -> None:
        if self.over:
            return
        self.stop_clock()
        self.ending = reason in reasons.FINAL and self._queue.bytes > 0
        self.engine.ended(self, reason)
        if self.ending:  # what was said last is heard at the next poll
            delay = self.engine.options.close_timeout
            self.deadline_slot = self.engine.deadlines.add(self, delay)
        self._wake()

    def expired(self) -> None:
        if self.ending:
            self.deadline_slot = 0
            self._forget()
        else:
            super().expired()

    def _forget(self) -> None:
        self.ending = False
        self.met_deadline()
        self.engine.forget(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._moved is not None and (self.upgraded or self.over):
            self._moved.set()

    # upgrade

    def probed(self) -> None:
        """The WebSocket answered; end the waiting poll, hold packets back."""
        self.probing = True
        self._wake()

    def probe_failed(self) -> None:
        self.probing = False

    def hand_over(self, connection: Connection) -> None:
        """The WebSocket carries the session from now on, what waited first."""
        self.upgraded = True
        self.stop_clock()
        self.engine.sockets[self.sid] = connection
        connection.taken_over(self)
        connection.start_clock()
        if connection.members:
            connection.met_deadline()
        while (parts := self._queue.pop()) is not None:
            connection.send_parts(parts)
        self.closed = self.over = True
        self._wake()
        count(self.engine.counters.opened, "upgrade")


def _size(parts: tuple[Part, ...]) -> int:
    return sum(len(data) for _, data in parts)


async def _read(request: web.Request, limit: int) -> bytes | None:
    """The whole body, however it is cut; None when it is over ``limit`` bytes."""
    if (request.content_length or 0) > limit:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
