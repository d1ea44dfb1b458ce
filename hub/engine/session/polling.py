"""A session carried by HTTP requests: a GET waits for packets, a POST brings some."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from hub.engine.session import reasons
from hub.engine.session.backlog import Backlog
from hub.engine.session.book import Book
from hub.engine.session.connection import Connection
from hub.engine.session.link import IDLE, TURN, Link
from hub.engine.session.telemetry import count
from hub.engine.wire.event import Event
from hub.engine.wire.frames import TEXT, Part

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
    """A session that ended is told to its polls by a refusal, which every client takes for a lost
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

    def __init__(self, book: Book, sid: str, codec: int, environ: dict[str, Any]) -> None:
        super().__init__(book)
        self.sid = sid
        self.codec = codec
        environ.pop("wsgi.input", None)
        environ.pop("aiohttp.request", None)
        self.address = environ["REMOTE_ADDR"]
        self._environ = environ if book.options.keep_request else {"REMOTE_ADDR": self.address}
        # What waits for a poll.
        self._queue: Backlog[tuple[Part, ...]] = Backlog()
        # Done when the poll that waits has something to say.
        self._waiter: asyncio.Future[None] | None = None
        # The POST in hand: whether there is one, its body, and how far that is handled.
        self._posting = False
        self._body = b""
        self._at = 1
        # Done when reading its body may go on.
        self._read_on: asyncio.Future[None] | None = None
        # What polls hear after the end; None for a refusal.
        self._word: Encoded | None = None
        # The WebSocket that is about to take the session over, and whether it carries bytes.
        self.prober: Connection | None = None
        self._probed = False
        # It has taken it over.
        self.upgraded = False
        # The server has ended the session, and what it said last still waits for a poll.
        self.ending = False

    @property
    def environ(self) -> Mapping[str, Any]:
        return self._environ

    def open_packets(self, opened: bytes) -> list[Encoded]:
        return [Encoded((TEXT, b"0" + opened)), *self._take()]

    # Requests.

    async def poll(self) -> list[Encoded]:
        """The packets for one GET, at least one. Raises BadRequest."""
        self.book.beats.catch_up()
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
                self._heard()
            return packets
        if self.upgraded and probed:  # it overtook the packet that ended the upgrade
            raise BadRequest("upgraded")
        if self.ending:
            self._heard()
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
        """The connection's handler sees to it that the body comes in time (`hub.plumbing.http`)."""
        body = await _read(request, self.book.options.max_payload)
        if body is None:
            raise self._bad("payload_too_big")
        return body

    def take_body(self, body: bytes) -> None:
        """The packets of one body, up to the mark of what may wait, and a turn at most. Raises
        BadRequest."""
        self.book.counters.bytes_in += len(body)
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
        """`link` is what carries the session by now."""
        self.book.counters.frames_in += 1
        kind = packet[:1]
        if kind == b"4":
            link.hearer.text(packet)
        elif kind == b"b":
            link.hearer.binary(decode_base64(packet[1:]))
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
        self.book.counters.frames_out += len(packets)
        self.book.counters.bytes_out += sum(len(packet.text) for packet in packets)
        return packets

    # What it says, and how it ends.

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        if self.over:
            return
        waiting, size = self._queue.bytes, _size(parts)
        if waiting and waiting + size > self.book.options.backlog_high:
            self.end(reasons.SLOW_CONSUMER)
            return
        self._queue.append(parts, size)
        self._wake()

    def send_text(self, payload: bytes) -> None:
        self.send_parts(((TEXT, payload),))

    def push(self, event: Event, plain: bool) -> None:
        parts = event.parts(self.codec, plain)
        if event.kind != "volatile" or self._queue.bytes <= self.book.options.backlog_low:
            self.send_parts(parts)
        elif event.key is None:
            count(self.book.counters.dropped, "volatile")
        else:
            dropped = self._queue.keep_newest(event.key, parts, _size(parts))
            count(self.book.counters.dropped, "volatile", dropped)

    def ping(self) -> None:
        self.send_parts(((TEXT, b"2"),))

    def reject(self, fault: str) -> None:
        count(self.book.counters.rejected, fault)
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
        self._ended(reason)
        if self.ending:  # what was said last is heard at the next poll
            self.expect_end()
        self._wake()

    def expired(self) -> None:
        if self.ending:
            self.deadline_slot = 0
            self._heard()
        else:
            super().expired()

    def forget(self) -> None:
        """Not before its last word is heard."""
        if not self.ending:
            super().forget()

    def _heard(self) -> None:
        self.ending = False
        self.met_deadline()
        self.forget()

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
    def waiting(self) -> int:
        return self._queue.bytes

    @property
    def unheard(self) -> bool:
        return self.ending and self._queue.bytes > 0

    # How it becomes a WebSocket.

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
        deadlines = self.book.deadlines
        connection.deadline_slot = deadlines.pass_on(self, self.deadline_slot, connection)
        self.deadline_slot = 0
        late = self.attachment_slot
        connection.attachment_slot = self.book.attachments.pass_on(self, late, connection)
        self.attachment_slot = 0
        self.stop_clock()
        connection.start_beats()
        self.book.sessions[self.sid] = connection
        connection.session = self.session
        connection.queue(self.queued)
        self.hearer.moved(connection)
        while (parts := self._queue.pop()) is not None:
            connection.send_parts(parts)
        with suppress(BadRequest):  # then it has ended the session
            while self._unread and not connection.over:  # a POST under way came before
                self._packet(connection, self._next())
        self.prober = None
        self.closed = self.over = True
        self._wake()
        count(self.book.counters.opened, "upgrade")


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
    """The whole body, however it is cut; None when it is over `limit` bytes."""
    if (request.content_length or 0) > limit:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
