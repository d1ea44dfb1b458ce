"""A session carried by a WebSocket: what it says, what waits for a slow reader, and its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from hub.engine.session import reasons
from hub.engine.session.backlog import Backlog
from hub.engine.session.book import Book
from hub.engine.session.incoming import CLOSING, OPEN, PROBE, SLOW, Incoming
from hub.engine.session.link import IDLE, Hear, Hearer
from hub.engine.session.telemetry import count
from hub.engine.session.transports import Transports
from hub.engine.wire.event import Event
from hub.engine.wire.frames import PING, PROBE_PONG, TEXT, Part, close_frame, frame, frames
from hub.engine.wire.packets import fault_of

TOLD = reasons.FINAL | {reasons.BAD_PACKET, reasons.REFUSED_TOO_OFTEN}
"""Ends that are told by a Close frame: the final ones, and where the peer broke the protocol or a
limit and hears so (RFC 6455 §7.4.1). All others end TCP alone: OkHttp, under the Java client, stops
reading at a Close, and notices the end by its ping time-out only."""


class Predecessor(Protocol):
    """The polling session that a WebSocket asks to take over (upgrade)."""

    sid: str
    codec: int
    address: str
    hearer: Hearer

    @property
    def environ(self) -> Mapping[str, Any]: ...

    def probed(self) -> None:
        """The WebSocket carries bytes."""

    def probe_failed(self) -> None:
        """It is gone; the polls go on."""

    def hand_over(self, connection: Connection) -> None:
        """The WebSocket carries the session from now on."""


class Connection(Incoming):
    """A WebSocket; `direct` while nothing waits for it and it speaks the default parser."""

    __slots__ = ("_counted", "_environ", "_predecessor", "backlog")

    def __init__(
        self,
        book: Book,
        transports: Transports,
        transport: asyncio.Transport,
        counted: str | None,
    ) -> None:
        super().__init__(book, transports, transport)
        # The address for which it counts as a connection of this door.
        self._counted = counted
        # The request that opened it, where handlers want to read it.
        self._environ: Mapping[str, Any] | None = None
        # The polling session, while it is probed.
        self._predecessor: Predecessor | None = None
        # What waits behind a full socket, in the order in which it will go out.
        self.backlog: Backlog[bytes] | None = None

    # How it opens.

    def open(
        self, sid: str, environ: Mapping[str, Any] | None, response: bytes, hear: Hear
    ) -> None:
        """The handshake was accepted: this is now an Engine.IO session. `environ` is the request
        where handlers may read it, and None elsewhere."""
        self.sid = sid
        self._environ = environ
        self.start_clock()  # the time to CONNECT runs since the transport was made
        self.hearer = hear(self)
        self._become_open()
        self.write(response + frame(TEXT, b"0" + self.book.open_packet(sid, ())))

    def _become_open(self) -> None:
        self.phase = OPEN
        sock = self.transport.get_extra_info("socket")
        if sock is not None and self.transport.get_extra_info("sslcontext") is None:
            self.fd = sock.fileno()
        # Where we write to the socket ourselves, the first byte that waits in the transport counts.
        limit = self.book.options.backlog_low if self.fd < 0 else 0
        self.transport.set_write_buffer_limits(limit)
        if self.transport.get_write_buffer_size() > limit:
            self.pause_writing()
        self._sort()

    def start_probe(self, predecessor: Predecessor, response: bytes) -> None:
        """The handshake asks to take over a polling session (upgrade)."""
        self.phase = PROBE
        self._predecessor = predecessor
        self.codec = predecessor.codec
        self.write(response)
        self.expect_connect()

    def _probe(self, payload: bytes) -> None:
        """Take what the official server takes: any number of probes, and an UPGRADE packet with or
        without one before it or data behind it."""
        before = self._predecessor
        assert before is not None
        if payload == b"2probe":
            self._put(PROBE_PONG)
            before.probed()
        elif payload[:1] == b"5":
            self.met_deadline()
            self._predecessor = None
            self.sid, self.address, self.hearer = before.sid, before.address, before.hearer
            self._environ = before.environ
            self._become_open()
            before.hand_over(self)
        else:
            self.end(reasons.BAD_PACKET, 1002)

    # asyncio.Protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self.transports.lost(self, self._counted)
        self._counted = None
        if self.phase == SLOW:
            self._finish(reasons.SLOW_CONSUMER)
        elif self.phase <= OPEN:
            self._finish(reasons.TRANSPORT_CLOSE if exc is None else reasons.TRANSPORT_ERROR)
        self.met_deadline()
        self.book.cork.take(self)
        self.reader = self.joined = self.backlog = None
        self.buffer = b""

    def pause_writing(self) -> None:
        """The socket is full: order what follows ourselves."""
        if self.phase == OPEN and self.backlog is None:
            self.backlog = Backlog()
            self.book.behind.add(self)
            self._sort()
            if held := self.book.cork.take(self):  # it comes before what the backlog will hold
                self.write(held)

    def resume_writing(self) -> None:
        backlog = self.backlog
        if backlog is None or self.phase != OPEN:
            return
        low = self.book.options.backlog_low
        while (waiting := self.transport.get_write_buffer_size()) <= low:
            wire = backlog.pop()
            if wire is not None:
                self.write(wire)
                continue
            if not waiting or self.fd < 0:
                self.backlog = None
                self.book.behind.discard(self)
                self._sort()
            return

    # What it hears.

    def _text(self, payload: bytes) -> None:
        kind = payload[:1]
        if self.phase == PROBE:
            self._probe(payload)
        elif kind == b"4":
            self.hearer.text(payload)
        elif kind == b"3":
            self.pong()
        elif payload == b"1":
            self.end(reasons.CLIENT_DISCONNECT)
        elif kind not in IDLE:
            self.reject(fault_of(payload, "engine_packet"))

    def _binary(self, payload: bytes) -> None:
        if self.phase == PROBE:
            self.end(reasons.BAD_PACKET, 1002)
        else:
            self.hearer.binary(payload)

    def _control(self, wire: bytes) -> None:
        self._put(wire)

    def _hung_up(self, reason: str, wire: bytes) -> None:
        self._finish(reason)
        self._close_transport(wire)

    # What it says.

    def write(self, wire: bytes) -> None:
        """Write after all that was written before; straight to the socket where nothing waits."""
        taken = 0
        if self.fd >= 0 and self.backlog is None:
            try:
                taken = os.write(self.fd, wire)
            except OSError:  # it is full, or broken: the transport finds out which
                taken = 0
        if taken < len(wire):
            self.write_rest(wire, taken)

    def write_rest(self, wire: bytes, taken: int) -> None:
        with suppress(RuntimeError):  # uvloop: closed in this very round; connection_lost follows
            self.transport.write(wire[taken:])

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        self._put(frames(parts))

    def send_text(self, payload: bytes) -> None:
        self._put(frame(TEXT, payload))

    def _put(self, wire: bytes) -> None:
        book = self.book
        book.counters.frames_out += 1
        book.counters.bytes_out += len(wire)
        backlog = self.backlog
        if backlog is None:
            if self.phase == OPEN:
                book.cork.hold(self, wire)
            elif self.phase == PROBE:
                self.write(wire)
                if self.transport.get_write_buffer_size() > book.options.backlog_high:
                    self.end(reasons.SLOW_CONSUMER)
        elif self.phase == OPEN:
            backlog.append(wire, len(wire))
            self._bound(backlog)

    def push(self, event: Event, plain: bool) -> None:
        if self.phase != OPEN:
            return
        backlog = self.backlog
        if backlog is None or self.waiting <= self.book.options.backlog_low:
            self._put(event.frame_as(self.codec, plain))
        elif event.kind == "alert":  # it overtakes stamped frames, so it carries no stamp
            self.write(event.frame_as(self.codec, True))
            self._bound(backlog)
        elif event.kind == "room":
            self._put(event.frame_as(self.codec, plain))
        elif event.key is None:
            count(self.book.counters.dropped, "volatile")
        else:
            wire = event.frame_as(self.codec, plain)
            dropped = backlog.keep_newest(event.key, wire, len(wire))
            count(self.book.counters.dropped, "volatile", dropped)

    def ping(self) -> None:
        if self.phase == OPEN:
            self.write(PING)

    def _bound(self, backlog: Backlog[bytes]) -> None:
        waiting = self.transport.get_write_buffer_size() + backlog.bytes
        if waiting > self.book.options.backlog_high:
            self.phase = SLOW
            self.book.end_slow(self)

    @property
    def waiting(self) -> int:
        held = self.backlog.bytes if self.backlog is not None else 0
        return self.transport.get_write_buffer_size() + held

    @property
    def environ(self) -> Mapping[str, Any]:
        # never asked whether it is empty: that would read the head of every session
        return {"REMOTE_ADDR": self.address} if self._environ is None else self._environ

    def _sort(self) -> None:
        raw = self.fd >= 0 and self.codec == 0
        self.direct = raw and self.phase == OPEN and self.backlog is None
        self.hearer.sort()

    # How it ends.

    def reject(self, fault: str) -> None:
        count(self.book.counters.rejected, fault)
        self.end(reasons.BAD_PACKET, 1007 if fault == "utf8" else 1008)

    def end(self, reason: str, code: int = 1000) -> None:
        if self.phase == CLOSING:
            return
        backlog = self.backlog
        self._finish(reason)
        if reason in (reasons.SLOW_CONSUMER, reasons.PING_TIMEOUT):
            self.transport.abort()
            return
        held = b"".join(backlog.kept()) if backlog is not None else b""
        if reason in TOLD:
            self._close_transport(held + close_frame(code, reason))
        else:
            self._hang_up(held)

    def _finish(self, reason: str) -> None:
        """Leave the session's books; the transport closes by itself or next."""
        self.phase = CLOSING
        self.direct = False
        self.fd = -1
        self.stop_clock()
        self.book.behind.discard(self)
        if self._predecessor is not None:
            self._predecessor.probe_failed()
            self._predecessor = None
        elif self.sid:
            self._ended(reason)

    def _close_transport(self, wire: bytes) -> None:
        self.transport.write(self.book.cork.take(self) + wire)
        self.transport.close()
        self.expect_end()

    def _hang_up(self, wire: bytes) -> None:
        """End TCP behind what was written. Only our half where that can be said: closing a socket
        that holds unread bytes resets it, and the peer may lose what it was told last."""
        self.transport.write(self.book.cork.take(self) + wire)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            if self.reading_paused:
                self.transport.resume_reading()  # the peer's half ends there
        else:
            self.transport.close()
        self.expect_end()

    def expired(self) -> None:
        self.deadline_slot = 0
        if self.phase == CLOSING:
            self.transport.abort()
        else:
            self.end(reasons.CONNECT_TIMEOUT)
