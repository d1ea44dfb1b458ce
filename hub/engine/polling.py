"""A session carried by HTTP requests: a GET waits for packets, a POST brings some."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import reasons
from .backlog import Backlog
from .events import Event
from .frames import TEXT, Part
from .link import IDLE, TURN, Link
from .telemetry import count

if TYPE_CHECKING:
    from .connection import Connection
    from .engine import Engine

SEPARATOR = b"\x1e"
HEARD_OUT = reasons.FINAL | {
    reasons.TRANSPORT_CLOSE,
    reasons.CONNECT_TIMEOUT,
    reasons.SHUTTING_DOWN,
}
"""Ends after which what was said before is still heard at the next poll."""

UPGRADE_WAIT = 0.1
"""How long a poll is held while a WebSocket is probed (s), as the official server does it: the
client ends the upgrade once no poll of its own is under way."""

URL_SAFE = bytes.maketrans(b"-_", b"+/")
NO_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
)


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
    """``prober`` is the WebSocket that is about to take the session over; ``ending`` once the
    server has closed it and only what it said last waits for a poll.

    A session that ended is told to its polls by a refusal, which every client takes for a lost
    transport; python-socketio's stays away for good after Engine.IO's CLOSE.
    """

    __slots__ = (
        "_at",
        "_body",
        "_environ",
        "_posting",
        "_probed",
        "_queue",
        "_read_on",
        "_waiter",
        "_word",
        "ending",
        "prober",
        "upgraded",
    )

    def __init__(self, engine: Engine, sid: str, codec: int, environ: dict[str, Any]) -> None:
        super().__init__()
        self.engine = engine
        self.sid = sid
        self.codec = codec
        environ.pop("wsgi.input", None)
        environ.pop("aiohttp.request", None)
        self.address = environ["REMOTE_ADDR"]
        self._environ = environ if engine.options.keep_request else {"REMOTE_ADDR": self.address}
        self._queue: Backlog[tuple[Part, ...]] = Backlog()
        self._waiter: asyncio.Future[None] | None = None
        self._posting = False
        self._body = b""  # of the POST in hand, handled up to ``_at``
        self._at = 1
        self._read_on: asyncio.Future[None] | None = None
        self._word: Encoded | None = None  # what polls hear after the end; None: a refusal
        self._probed = False
        self.prober: Connection | None = None
        self.upgraded = False
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
            self._word = CLOSE
            raise self._bad("poll_overlap")
        probed = self._probed
        packets = self._take()
        if not packets and not self.over:
            await self._wait(UPGRADE_WAIT if probed else None)
            packets = self._take()
        if packets:  # CLOSE beside it would be heard before it
            if self.ending and self._word is None:
                self._forget()
            return packets
        if self.upgraded and probed:  # it overtook the packet that ended the upgrade
            raise BadRequest("upgraded")
        if self.ending:
            self._forget()
        if not self.over or self.upgraded:
            return [NOOP]
        if self._word is None:
            raise BadRequest("session")
        return [self._word]

    async def _wait(self, seconds: float | None) -> None:
        """For packets, the end of the session, or so long."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        except asyncio.CancelledError:  # the peer is gone, and with it what was sent last
            self.end(reasons.TRANSPORT_ERROR)
            raise
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def post(self, request: web.Request) -> None:
        """Take the packets of one body; returns once few enough of all that came wait for their
        handlers. Raises BadRequest."""
        if self._posting:
            raise self._bad("post_overlap")
        self._posting = True
        try:
            self.take_body(await self._body_of(request))
            while self._unread and not self.over:
                if self.reading_paused:
                    self._read_on = asyncio.get_running_loop().create_future()
                    await self._read_on
                else:  # others have their turn
                    await asyncio.sleep(0)
                self._take_on()
        except asyncio.CancelledError:  # the peer is gone, and what it sent is not whole
            self.end(reasons.TRANSPORT_ERROR)
            raise
        finally:
            self._posting = False
            self._body, self._at = b"", 1

    async def _body_of(self, request: web.Request) -> bytes:
        body = None
        try:
            async with asyncio.timeout(self.engine.options.connect_timeout):
                body = await _read(request, self.engine.options.max_payload)
        except TimeoutError:
            raise self._bad("body_late") from None
        if body is None:
            raise self._bad("payload_too_big")
        return body

    def take_body(self, body: bytes) -> None:
        """The packets of one body, up to the mark of what may wait, and a turn at most. Raises
        BadRequest."""
        self.engine.counters.bytes_in += len(body)
        self._body, self._at = body, 0
        self._take_on()

    def _take_on(self) -> None:
        for _ in range(TURN):
            if not self._unread or self.over or self.reading_paused:
                return
            self._packet(self, self._next())

    @property
    def _unread(self) -> bool:
        return self._at <= len(self._body)

    def _next(self) -> bytes:
        """The next packet of the body in hand."""
        at, end = self._at, self._body.find(SEPARATOR, self._at)
        if end < 0:
            end = len(self._body)
        self._at = end + 1
        return self._body[at:end]

    def _packet(self, link: Link, packet: bytes) -> None:
        """``link`` is what carries the session by now."""
        self.engine.counters.frames_in += 1
        kind = packet[:1]
        if kind == b"4":
            self.engine.app.text(link, packet)
        elif kind == b"b":
            self.engine.app.binary(link, decode_base64(packet[1:]))
        elif kind == b"3":
            link.pong()
        elif packet == b"1":
            self._word = NOOP
            link.end(reasons.TRANSPORT_CLOSE)
        elif kind not in IDLE:
            link.reject("engine_packet")
            raise BadRequest("engine_packet")

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
        if reason in reasons.FINAL:
            self._word = CLOSE
        waits = self._queue.bytes > 0 and self._word is not NOOP
        self.ending = waits and reason in HEARD_OUT
        if not self.ending:
            self._queue = Backlog()
        if self.prober is not None:
            self.prober.end(reasons.TRANSPORT_CLOSE)
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
        if self._read_on is not None and not self._read_on.done() and self.over:
            self._read_on.set_result(None)

    def resume_reading(self) -> None:
        super().resume_reading()
        if self._read_on is not None and not self._read_on.done():
            self._read_on.set_result(None)

    @property
    def unheard(self) -> bool:
        """Whether what was said last still waits for a poll."""
        return self.ending and self._queue.bytes > 0

    # upgrade

    @property
    def probing(self) -> bool:
        return self.prober is not None

    def probed(self) -> None:
        """The WebSocket carries bytes. Polls go on until the client has ended the upgrade, but
        none of them waits for long: it does that between two of them."""
        self._probed = True
        self._wake()

    def probe_failed(self) -> None:
        self.prober = None
        self._probed = False

    def hand_over(self, connection: Connection) -> None:
        """The WebSocket carries the session from now on, what waited first."""
        self.upgraded = True
        deadlines = self.engine.deadlines
        connection.deadline_slot = deadlines.pass_on(self, self.deadline_slot, connection)
        self.deadline_slot = 0
        late = self.attachment_slot
        connection.attachment_slot = self.engine.attachments.pass_on(self, late, connection)
        self.attachment_slot = 0
        self.stop_clock()
        connection.start_beats()
        self.engine.sockets[self.sid] = connection
        connection.taken_over(self)
        while (parts := self._queue.pop()) is not None:
            connection.send_parts(parts)
        with suppress(BadRequest):  # then it has ended the session
            while self._unread and not connection.over:  # a POST under way came before
                self._packet(connection, self._next())
        self.prober = None
        self.closed = self.over = True
        self._wake()
        count(self.engine.counters.opened, "upgrade")


def decode_base64(text: bytes) -> bytes:
    """As the official server reads it (Node's Buffer): either alphabet (RFC 4648 §5), padded or
    not, up to the first "=", and whatever belongs to neither, line breaks for one, is skipped."""
    digits = text.partition(b"=")[0].translate(URL_SAFE, NO_BASE64)
    if len(digits) % 4 == 1:  # six bits are no byte
        digits = digits[:-1]
    return b64decode(digits + b"=" * (-len(digits) % 4))


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
