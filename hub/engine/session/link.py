"""One Engine.IO session, whatever carries it: a WebSocket (`connection`) or polls (`polling`).

The library sees it as one of its sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hub.engine.session import reasons
from hub.engine.session.book import Book
from hub.engine.session.telemetry import count
from hub.engine.wire.event import Event
from hub.engine.wire.frames import BINARY, TEXT, Part

TURN = 16
"""Packets of one peer that are read in one loop round, so that many who flood us cannot hold up
those who wait for an answer."""

IDLE = frozenset((b"0", b"1", b"5", b"6"))
"""Packets of Engine.IO that say nothing on an open session: Node passes over them."""


class Hearer(Protocol):
    """What sits on a session and hears of everything that happens to it."""

    def text(self, payload: bytes) -> None:
        """A text message with its packet type ("4…") before, its UTF-8 unchecked."""

    def binary(self, payload: bytes) -> None:
        """A binary message."""

    def sort(self) -> None:
        """`Link.direct` may have changed."""

    def moved(self, link: Link) -> None:
        """Another transport carries the session from now on."""

    def closed(self, reason: str) -> None:
        """The transport is gone; `Link.forget` is called when the session is needed no more."""


Hear = Callable[["Link"], Hearer]
"""Gives the hearer of a session that has just been opened."""


class Link:
    """State common to both transports."""

    __slots__ = (
        "_session",
        "address",
        "attachment_slot",
        "awaiting_pong",
        "beat_slot",
        "book",
        "closed",
        "codec",
        "deadline_slot",
        "direct",
        "fd",
        "hearer",
        "over",
        "queued",
        "reading_paused",
        "sid",
    )

    # What the library asks of its sockets, and what it does not need to know of ours.
    closing = False
    connected = True
    upgraded = False

    hearer: Hearer

    def __init__(self, book: Book) -> None:
        # What all sessions of the engine share.
        self.book = book
        # Engine.IO's id of the session; empty until it is open.
        self.sid = ""
        # The parser that the peer speaks (packets.DEFAULT or packets.MSGPACK).
        self.codec = 0
        # The peer's, behind the trusted proxies.
        self.address = ""
        # The transport is given up: nothing is sent or heard any more.
        self.over = False
        # The session is forgotten too: its last handler has run.
        self.closed = False
        # Ready frames may be written to `fd` without a look at the link.
        self.direct = False
        # The socket to write to while nothing waits in the transport; -1 where all must go through
        # the transport (TLS, polling).
        self.fd = -1
        # A ping was sent and not yet answered.
        self.awaiting_pong = False
        # Too many events wait for their handlers, so the peer is not read.
        self.reading_paused = False
        # Places on the book's wheels, 0 where there is none: of the next ping or the pong,
        self.beat_slot = 0
        # of the CONNECT, or of the end, that must come in time,
        self.deadline_slot = 0
        # and of the attachments that a packet still needs.
        self.attachment_slot = 0
        # The weight of the events that wait for their handlers, whichever member they are for.
        self.queued = 0
        # What the library's users keep for the session, made when it is asked for.
        self._session: dict[str, Any] | None = None

    # What the library asks of a socket.

    @property
    def session(self) -> dict[str, Any]:
        if self._session is None:
            self._session = {}
        return self._session

    @session.setter
    def session(self, session: dict[str, Any]) -> None:
        self._session = session

    async def send(self, packet: Any) -> None:
        """An Engine.IO packet of the library."""
        encoded = packet.encode()
        if isinstance(encoded, str):
            self.send_parts(((TEXT, encoded.encode()),))
        else:
            self.send_parts(((BINARY, bytes(encoded)),))

    async def close(
        self, wait: bool = True, abort: bool = False, reason: str | None = None
    ) -> None:
        self.end(reason or reasons.SERVER_DISCONNECT)

    # What is asked of a transport.

    @property
    def environ(self) -> Mapping[str, Any]:
        """The request that opened the session, as a WSGI environment."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Bytes that wait in this process for the peer to read."""
        raise NotImplementedError

    @property
    def unheard(self) -> bool:
        """Whether the peer, though the session has ended, may still ask for what was said last."""
        return False

    def write_rest(self, wire: bytes, taken: int) -> None:
        """Let the transport have what the socket did not take of `wire`."""
        raise NotImplementedError

    def send_text(self, payload: bytes) -> None:
        """Send one text message with its packet type before; else as `send_parts`."""
        raise NotImplementedError

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        """Send replies, acknowledgements, control: they keep their order and are never dropped."""
        raise NotImplementedError

    def push(self, event: Event, plain: bool) -> None:
        """Send an event by its class; `plain` asks for the encoding without an offset."""
        raise NotImplementedError

    def ping(self) -> None:
        raise NotImplementedError

    def reject(self, fault: str) -> None:
        """Close for what the peer sent; `fault` is the counter's label."""
        raise NotImplementedError

    def end(self, reason: str, code: int = 1000) -> None:
        """Close the transport; `code` is for the Close frame of ends that are told by one
        (`connection.TOLD`). Ending twice is nothing."""
        raise NotImplementedError

    # How a session ends.

    def _ended(self, reason: str) -> None:
        """Tell book and hearer. It is called once, when the transport is gone or given up."""
        self.over = True
        self.book.closed(self.address, reason)
        self.hearer.closed(reason)

    def forget(self) -> None:
        """Leave the sessions of the book: the last handler has run."""
        self.closed = True
        sessions = self.book.sessions
        if sessions.get(self.sid) is self:
            del sessions[self.sid]

    # Back-pressure.

    def queue(self, weight: int) -> None:
        """An event waits for its handler: once too many do, the peer is not read."""
        self.queued += weight
        if self.queued >= self.book.options.max_waiting_events:
            self.pause_reading()

    def unqueue(self, weight: int) -> None:
        self.queued -= weight
        if self.reading_paused and self.queued < self.book.options.max_waiting_events // 2:
            self.resume_reading()

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    # Heartbeat and time-outs.

    def start_clock(self) -> None:
        self.start_beats()
        self.expect_connect()

    def start_beats(self) -> None:
        self.beat_slot = self.book.beats.add(self, self.book.options.ping_interval)

    def expect_connect(self) -> None:
        """Close unless a namespace is joined in time."""
        if not self.deadline_slot:
            delay = self.book.options.connect_timeout
            self.deadline_slot = self.book.deadlines.add(self, delay)

    def expect_end(self) -> None:
        """What is still to be heard or closed must be so in time."""
        delay = self.book.options.close_timeout
        self.deadline_slot = self.book.deadlines.add(self, delay)

    def met_deadline(self) -> None:
        if self.deadline_slot:
            self.book.deadlines.drop(self, self.deadline_slot)
            self.deadline_slot = 0

    def expect_attachments(self) -> None:
        """End unless the attachments of a packet come in time."""
        delay = self.book.options.connect_timeout
        self.attachment_slot = self.book.attachments.add(self, delay)

    def met_attachments(self) -> None:
        if self.attachment_slot:
            self.book.attachments.drop(self, self.attachment_slot)
            self.attachment_slot = 0

    def stop_clock(self) -> None:
        self.met_deadline()
        self.met_attachments()
        if self.beat_slot:
            self.book.beats.drop(self, self.beat_slot)
            self.beat_slot = 0

    def beat(self) -> None:
        """It is time for a ping, or the pong did not come."""
        if self.awaiting_pong and not self.reading_paused:
            self.beat_slot = 0
            self.end(reasons.PING_TIMEOUT)
            return
        self.awaiting_pong = True
        self.ping()
        timeout = self.book.options.ping_timeout
        self.beat_slot = self.book.beats.add(self, timeout, self.beat_slot)

    def pong(self) -> None:
        if self.awaiting_pong:
            self.awaiting_pong = False
            self.book.beats.drop(self, self.beat_slot)
            self.beat_slot = self.book.beats.add(self, self.book.options.ping_interval)

    def expired(self) -> None:
        """No namespace was joined in time."""
        self.deadline_slot = 0
        self.end(reasons.CONNECT_TIMEOUT)

    def attachments_late(self) -> None:
        """The peer stopped in the middle of a packet."""
        self.attachment_slot = 0
        count(self.book.counters.rejected, "attachments_late")
        self.end(reasons.TRANSPORT_ERROR)
