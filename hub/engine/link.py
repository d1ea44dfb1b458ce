"""One Engine.IO session, whatever carries it: a WebSocket (``connection``) or polls
(``polling``). The library sees it as one of its sockets."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import reasons
from .events import Event
from .frames import BINARY, TEXT, Part
from .telemetry import count

if TYPE_CHECKING:
    from .engine import Engine
    from .packets import Packet
    from .rooms import Member


TURN = 16
"""Packets of one peer that are read in one loop round, so that many who flood us cannot hold up
those who wait for an answer."""

IDLE = frozenset((b"0", b"1", b"5", b"6"))
"""Packets of Engine.IO that say nothing on an open session: Node passes over them."""


class Link:
    """State common to both transports.

    ``fd`` is the socket to which frames may be written while nothing waits in the transport, -1
    where all must go through the transport (TLS). ``direct`` says that ready frames may be written
    to ``fd`` without a look at the link.
    ``pending`` is a binary packet that waits for its attachments; ``queued`` weighs the events
    that wait for their handlers, whichever member they are for; ``leaving`` counts members whose
    disconnect handler is still running; ``over`` says that the transport is given up.
    ``admitting`` ends with the CONNECT that is under way; ``connects`` counts those of the minute
    that began at ``connects_since``.
    """

    __slots__ = (
        "_session",
        "address",
        "admitting",
        "attachment_slot",
        "attachments",
        "awaiting_pong",
        "beat_slot",
        "closed",
        "codec",
        "connects",
        "connects_since",
        "deadline_slot",
        "direct",
        "engine",
        "fd",
        "leaving",
        "members",
        "over",
        "pending",
        "queued",
        "reading_paused",
        "sid",
    )

    engine: Engine
    closing = False
    connected = True
    upgraded = False

    def __init__(self) -> None:
        self.sid = ""
        self.codec = 0
        self.address = ""
        self.members: tuple[Member, ...] = ()
        self.leaving = 0
        self.admitting: Future[None] | None = None
        self.connects = 0
        self.connects_since = 0.0
        self.closed = False
        self.over = False
        self.direct = False
        self.fd = -1
        self.awaiting_pong = False
        self.reading_paused = False
        self.beat_slot = 0
        self.deadline_slot = 0
        self.attachment_slot = 0
        self.queued = 0
        self.pending: Packet | None = None
        self.attachments: list[bytes] | None = None
        self._session: dict[str, Any] | None = None

    # what the library asks of a socket

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

    # what the engine asks of a transport

    @property
    def environ(self) -> Mapping[str, Any]:
        """The request that opened the session, as a WSGI environment."""
        raise NotImplementedError

    def member(self, namespace: str) -> Member | None:
        for member in self.members:
            if member.namespace.name == namespace:
                return member
        return None

    def write_rest(self, wire: bytes, taken: int) -> None:
        """What the socket did not take of ``wire``: it waits in the transport."""
        raise NotImplementedError

    def send_text(self, payload: bytes) -> None:
        """One text message with its packet type before; else as ``send_parts``."""
        raise NotImplementedError

    def reject(self, fault: str) -> None:
        """Close for what the peer sent; ``fault`` is the counter's label."""
        raise NotImplementedError

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        """In order, never dropped: replies, acknowledgements, control."""
        raise NotImplementedError

    def push(self, event: Event, plain: bool) -> None:
        """By the event's class; ``plain`` asks for the encoding without an offset."""
        raise NotImplementedError

    def ping(self) -> None:
        raise NotImplementedError

    def end(self, reason: str, code: int = 1000) -> None:
        """Close the transport; ``code`` is for the Close frame of ends that are told by one
        (``connection.TOLD``). Ending twice is nothing."""
        raise NotImplementedError

    # back-pressure

    def queue(self, weight: int) -> None:
        """An event waits for its handler: once too many do, the peer is not read."""
        self.queued += weight
        if self.queued >= self.engine.options.max_waiting_events:
            self.pause_reading()

    def unqueue(self, weight: int) -> None:
        self.queued -= weight
        if self.reading_paused and self.queued < self.engine.options.max_waiting_events // 2:
            self.resume_reading()

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    # heartbeat and time-outs

    def start_clock(self) -> None:
        self.start_beats()
        self.expect_connect()

    def start_beats(self) -> None:
        self.beat_slot = self.engine.beats.add(self, self.engine.options.ping_interval)

    def expect_connect(self) -> None:
        """Close unless a namespace is joined in time."""
        if not self.deadline_slot:
            delay = self.engine.options.connect_timeout
            self.deadline_slot = self.engine.deadlines.add(self, delay)

    def met_deadline(self) -> None:
        if self.deadline_slot:
            self.engine.deadlines.drop(self, self.deadline_slot)
            self.deadline_slot = 0

    def expect_attachments(self) -> None:
        """End unless the attachments of ``pending`` come in time."""
        delay = self.engine.options.connect_timeout
        self.attachment_slot = self.engine.attachments.add(self, delay)

    def met_attachments(self) -> None:
        if self.attachment_slot:
            self.engine.attachments.drop(self, self.attachment_slot)
            self.attachment_slot = 0

    def attachments_late(self) -> None:
        """The wheel's turn: the peer stopped in the middle of a packet."""
        self.attachment_slot = 0
        count(self.engine.counters.rejected, "attachments_late")
        self.end(reasons.TRANSPORT_ERROR)

    def stop_clock(self) -> None:
        self.met_deadline()
        self.met_attachments()
        if self.beat_slot:
            self.engine.beats.drop(self, self.beat_slot)
            self.beat_slot = 0

    def beat(self) -> None:
        """The wheel's turn: time for a ping, or the pong did not come."""
        if self.awaiting_pong and not self.reading_paused:
            self.beat_slot = 0
            self.end(reasons.PING_TIMEOUT)
            return
        self.awaiting_pong = True
        self.ping()
        timeout = self.engine.options.ping_timeout
        self.beat_slot = self.engine.beats.add(self, timeout, self.beat_slot)

    def pong(self) -> None:
        if self.awaiting_pong:
            self.awaiting_pong = False
            self.engine.beats.drop(self, self.beat_slot)
            self.beat_slot = self.engine.beats.add(self, self.engine.options.ping_interval)

    def expired(self) -> None:
        """The wheel's turn: no namespace was joined in time."""
        self.deadline_slot = 0
        self.end(reasons.CONNECT_TIMEOUT)
