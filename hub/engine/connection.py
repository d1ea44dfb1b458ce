"""One TCP connection. A WebSocket upgrade of an engine's path stays here for its whole life;
any other request is handed, with its first bytes, to aiohttp on the same transport."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from websockets.frames import Opcode
from websockets.speedups import apply_mask

from hub.plumbing.http.server import peer_of
from protocol.address import client_address

from . import reasons
from .backlog import Backlog
from .environ import Environ
from .events import Event
from .frames import PING, PROBE_PONG, TEXT, Part, close_frame, frame, frames
from .link import IDLE, TURN, Link
from .packets import fault_of
from .telemetry import count

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.protocol import Protocol

    from .listener import Listener
    from .polling import Poller

HEAD, PROBE, OPEN, SLOW, CLOSING, HANDED_OVER = range(6)

TOLD = reasons.FINAL | {reasons.BAD_PACKET, reasons.REFUSED_TOO_OFTEN}
"""Ends that are told by a Close frame: the final ones, and where the peer broke the protocol or a
limit and hears so (RFC 6455 §7.4.1). All others end TCP alone: OkHttp, under the Java client, stops
reading at a Close, and notices the end by its ping time-out only."""

SMALL = 4_096
"""An incomplete frame up to here waits as bytes; a longer one is read by a lent reader, whose
buffer grows without copying what it holds."""

PART = 512
"""What a reader is given at once: it takes all frames of that, and the shortest have 6 bytes."""


class Connection(Link, asyncio.Protocol):
    """See the module; ``direct`` while nothing waits for it and it speaks the default parser.
    SLOW once too much waits for it: it hears and says nothing more until its turn to be closed.
    """

    __slots__ = (
        "_environ",
        "backlog",
        "buffer",
        "counted",
        "joined",
        "later",
        "listener",
        "phase",
        "poller",
        "reader",
        "transport",
    )

    upgraded = True

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.listener = listener
        self.engine = listener.engine
        self.phase = HEAD
        self.buffer = b""
        self.later = False
        self.counted: str | None = None  # the peer's address, while it counts as a connection
        self.backlog: Backlog[bytes] | None = None
        self.reader: Protocol | None = None
        self.joined: bytearray | None = None
        self.poller: Poller | None = None
        self._environ: Mapping[str, Any] = {}

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        address = client_address(peer_of(transport), (), 0)
        if self.listener.counted.take(address):
            self.taken_back(self.transport, address)
        else:
            self.phase = CLOSING
            self.transport.abort()

    def taken_back(self, transport: asyncio.Transport, counted: str | None) -> None:
        """This transport is ours, and counted for that address."""
        self.transport, self.counted = transport, counted
        self.deadline_slot = self.engine.deadlines.add(self, self.engine.options.connect_timeout)
        self.listener.connections.add(self)

    def give_away(self) -> str | None:
        """Somebody else serves this transport from now on; the address it is counted for."""
        self.met_deadline()
        self.phase = HANDED_OVER
        self.listener.connections.discard(self)
        counted, self.counted = self.counted, None
        return counted

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.connections.discard(self)
        if self.counted is not None:
            self.listener.counted.release(self.counted)
            self.counted = None
        if self.phase == HEAD:
            self.met_deadline()
        elif self.phase == SLOW:
            self._finish(reasons.SLOW_CONSUMER)
        elif self.phase in (PROBE, OPEN):
            self._finish(reasons.TRANSPORT_CLOSE if exc is None else reasons.TRANSPORT_ERROR)
        self.met_deadline()
        self.phase = CLOSING
        self.engine.cork.take(self)
        self.reader = self.joined = self.backlog = None
        self.buffer = b""

    def pause_writing(self) -> None:
        """The socket is full: order what follows ourselves."""
        if self.phase == OPEN and self.backlog is None:
            self.backlog = Backlog()
            self.engine.behind.add(self)
            self._sort()
            if held := self.engine.cork.take(self):  # it comes before what the backlog will hold
                self.write(held)

    def resume_writing(self) -> None:
        backlog = self.backlog
        if backlog is None or self.phase != OPEN:
            return
        low = self.engine.options.backlog_low
        while (waiting := self.transport.get_write_buffer_size()) <= low:
            wire = backlog.pop()
            if wire is not None:
                self.write(wire)
                continue
            if not waiting or self.fd < 0:
                self.backlog = None
                self.engine.behind.discard(self)
                self._sort()
            return

    def data_received(self, data: bytes) -> None:
        size = len(data)
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        if self.phase == HEAD:
            self.listener.head_received(self, data)
        else:
            self.engine.counters.bytes_in += size
            self._receive(data)

    # reading

    def _receive(self, data: bytes) -> None:
        """Read it, up to the mark of what may wait for handlers, and a turn at most: the rest
        waits unread."""
        counters = self.engine.counters
        until = counters.frames_in + TURN
        while data and self.phase in (OPEN, PROBE):
            if self.reading_paused or self.later:
                self.buffer = data
            elif counters.frames_in >= until:
                self.buffer = data
                self._read_later()
            elif self.reader is None:
                data = self._read(data, until)
                continue
            else:
                self._feed(self.reader, data[:PART])
                data = data[PART:]
                continue
            return

    def _read_later(self) -> None:
        """Others have their turn first; what comes meanwhile waits in the kernel."""
        self.later = True
        if not self.transport.is_closing():
            self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self.later = False
        self.data_received(b"")
        waits = self.later or self.reading_paused or self.phase not in (OPEN, PROBE)
        if not waits and not self.transport.is_closing():
            self.transport.resume_reading()

    def _read(self, data: bytes, until: int) -> bytes:
        """Whole unfragmented masked text frames (RFC 6455 §5.2); what is left for a reader, or
        for later."""
        at, end, counters = 0, len(data), self.engine.counters
        while end - at >= 6:
            size = data[at + 1] - 0x80
            if data[at] != TEXT or not 0 <= size < 127:
                break
            body = at + 6
            if size == 126:
                size = data[at + 2] << 8 | data[at + 3]
                if size < 126:
                    break
                body = at + 8
            stop = body + size
            if stop > end or size > self.engine.options.max_payload:
                break
            counters.frames_in += 1
            self._text(apply_mask(data[body:stop], data[body - 4 : body]))
            at = stop
            if self.phase > OPEN or self.reading_paused or counters.frames_in >= until:
                return data[at:]
        if at == end:
            return b""
        data = data[at:]
        if end - at < SMALL and self._is_incomplete_text(data):
            self.buffer = data
            return b""
        self.reader = self.listener.readers.take()
        return data

    def _is_incomplete_text(self, data: bytes) -> bool:
        if data[0] != TEXT or (len(data) > 1 and not 0x80 <= data[1] <= 0xFE):
            return False
        if len(data) < 8 or data[1] != 0xFE:
            return len(data) < 8 or len(data) < 6 + data[1] - 0x80
        size = data[2] << 8 | data[3]
        return 126 <= size <= self.engine.options.max_payload and len(data) < 8 + size

    def _feed(self, reader: Protocol, data: bytes) -> None:
        reader.receive_data(data)
        for received in reader.events_received():
            self.engine.counters.frames_in += 1
            self._frame(cast("Frame", received))
            if self.phase == CLOSING:
                return
        writes = reader.data_to_send()
        if reader.close_sent is not None or reader.parser_exc is not None:
            self._reader_closed(reader, b"".join(writes))
            return
        for wire in writes:  # a pong (RFC 6455 §5.5.3), in its turn
            self._put(wire)
        if self.joined is None and self.listener.readers.give_back(reader):
            self.reader = None

    def _frame(self, received: Frame) -> None:
        opcode = received.opcode
        if opcode is Opcode.CONT:
            assert self.joined is not None
            self.joined += received.data
        elif opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self.joined = bytearray((opcode,)) + received.data
        else:
            return
        if received.fin:
            message, self.joined = self.joined, None
            if message[0] == Opcode.TEXT:
                self._text(bytes(message[1:]))
            else:
                self._binary(bytes(message[1:]))

    def _reader_closed(self, reader: Protocol, wire: bytes) -> None:
        """The peer closed, or broke a rule of the protocol; the reader wrote the answer."""
        if reader.parser_exc is None:
            reason = reasons.TRANSPORT_CLOSE
        else:
            reason = reasons.BAD_PACKET
            code = reader.close_sent.code if reader.close_sent is not None else 1006
            count(self.engine.counters.rejected, f"websocket_{int(code)}")
        self._finish(reason)
        self._close_transport(wire)

    # Engine.IO

    def _text(self, payload: bytes) -> None:
        kind = payload[:1]
        if self.phase == PROBE:
            self._probe(payload)
        elif kind == b"4":
            self.engine.app.text(self, payload)
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
            self.engine.app.binary(self, payload)

    def answer(self, wire: bytes) -> None:
        """The handshake's answer and the end of the connection."""
        self.met_deadline()
        self.phase = CLOSING
        self._close_transport(wire)

    def reject(self, fault: str) -> None:
        count(self.engine.counters.rejected, fault)
        self.end(reasons.BAD_PACKET, 1007 if fault == "utf8" else 1008)

    def open(self, sid: str, environ: Environ, response: bytes) -> None:
        """The handshake was accepted: this is now an Engine.IO session."""
        self._become_open(sid, environ)
        self.write(response + frame(TEXT, b"0" + self.engine.open_packet(sid, ())))
        self.start_clock()  # the time to CONNECT runs since the connection was made

    def _become_open(self, sid: str, environ: Mapping[str, Any]) -> None:
        self.sid = sid
        if self.engine.options.keep_request:
            self._environ = environ
        self.phase = OPEN
        sock = self.transport.get_extra_info("socket")
        if sock is not None and self.transport.get_extra_info("sslcontext") is None:
            self.fd = sock.fileno()
        # Where we write to the socket ourselves, the first byte that waits in the transport counts.
        limit = self.engine.options.backlog_low if self.fd < 0 else 0
        self.transport.set_write_buffer_limits(limit)
        if self.transport.get_write_buffer_size() > limit:
            self.pause_writing()
        self._sort()

    def start_probe(self, poller: Poller, response: bytes) -> None:
        """The handshake asks to take over a polling session (upgrade)."""
        self.phase = PROBE
        self.poller = poller
        poller.prober = self
        self.codec = poller.codec
        self.write(response)

    def _probe(self, payload: bytes) -> None:
        """As the official server takes it: any number of probes, and an UPGRADE packet with or
        without one before it or data behind it."""
        poller = self.poller
        assert poller is not None
        if payload == b"2probe":
            self._put(PROBE_PONG)
            poller.probed()
        elif payload[:1] == b"5":
            self.met_deadline()
            self.poller = None
            self.address = poller.address
            self._become_open(poller.sid, poller.environ)
            poller.hand_over(self)
        else:
            self.end(reasons.BAD_PACKET, 1002)

    def taken_over(self, poller: Poller) -> None:
        """The polling session's state is this one's now."""
        self.members, self._session = poller.members, poller.session
        self.pending, self.attachments = poller.pending, poller.attachments
        self.queue(poller.queued)
        for member in self.members:
            member.link = self
            member.sort()

    # Link

    def write(self, wire: bytes) -> None:
        """After all that was written before; straight to the socket where nothing waits."""
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

    @property
    def environ(self) -> Mapping[str, Any]:
        return self._environ or {"REMOTE_ADDR": self.address}

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        self._put(frames(parts))

    def send_text(self, payload: bytes) -> None:
        self._put(frame(TEXT, payload))

    def _put(self, wire: bytes) -> None:
        self.engine.counters.frames_out += 1
        self.engine.counters.bytes_out += len(wire)
        backlog = self.backlog
        if backlog is None:
            if self.phase == OPEN:
                self.engine.cork.hold(self, wire)
            elif self.phase == PROBE:
                self.write(wire)
                if self.transport.get_write_buffer_size() > self.engine.options.backlog_high:
                    self.end(reasons.SLOW_CONSUMER)
        elif self.phase == OPEN:
            backlog.append(wire, len(wire))
            self._bound(backlog)

    def push(self, event: Event, plain: bool) -> None:
        if self.phase != OPEN:
            return
        backlog = self.backlog
        if backlog is None or self.waiting <= self.engine.options.backlog_low:
            self._put(event.frame_as(self.codec, plain))
        elif event.kind == "alert":  # overtakes stamped frames, so it carries no stamp
            self.write(event.frame_as(self.codec, True))
            self._bound(backlog)
        elif event.kind == "room":
            self._put(event.frame_as(self.codec, plain))
        elif event.key is None:
            count(self.engine.counters.dropped, "volatile")
        else:
            wire = event.frame_as(self.codec, plain)
            dropped = backlog.keep_newest(event.key, wire, len(wire))
            count(self.engine.counters.dropped, "volatile", dropped)

    def _bound(self, backlog: Backlog[bytes]) -> None:
        waiting = self.transport.get_write_buffer_size() + backlog.bytes
        if waiting > self.engine.options.backlog_high:
            self.phase = SLOW
            self.engine.end_slow(self)

    @property
    def waiting(self) -> int:
        """Bytes that wait in this process for the peer to read."""
        held = self.backlog.bytes if self.backlog is not None else 0
        return self.transport.get_write_buffer_size() + held

    def ping(self) -> None:
        if self.phase == OPEN:
            self.write(PING)

    def end(self, reason: str, code: int = 1000) -> None:
        if self.phase in (CLOSING, HANDED_OVER):
            return
        if self.phase == HEAD:
            self.phase = CLOSING
            self.transport.abort()
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
        self.engine.behind.discard(self)
        if self.poller is not None:
            self.poller.probe_failed()
            self.poller = None
        elif self.sid:
            self.engine.ended(self, reason)

    def _close_transport(self, wire: bytes) -> None:
        self.transport.write(self.engine.cork.take(self) + wire)
        self.transport.close()
        self._expect_end()

    def _hang_up(self, wire: bytes) -> None:
        """End TCP behind what was written. Only our half where that can be said: closing a socket
        that holds unread bytes resets it, and the peer may lose what it was told last."""
        self.transport.write(self.engine.cork.take(self) + wire)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            if self.reading_paused:
                self.transport.resume_reading()  # the peer's half ends there
        else:
            self.transport.close()
        self._expect_end()

    def _expect_end(self) -> None:
        delay = self.engine.options.close_timeout
        self.deadline_slot = self.engine.deadlines.add(self, delay)

    def expired(self) -> None:
        self.deadline_slot = 0
        if self.phase == CLOSING:
            self.transport.abort()
        else:
            self.end(reasons.CONNECT_TIMEOUT)

    def pause_reading(self) -> None:
        if not self.reading_paused and self.phase == OPEN:
            self.reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused and self.phase == OPEN:
            self.reading_paused = False
            if not self.later:  # not at once: whoever resumes us may be in the midst of something
                self.later = True
                asyncio.get_running_loop().call_soon(self._read_on)

    def _sort(self) -> None:
        raw = self.fd >= 0 and self.codec == 0
        self.direct = raw and self.phase == OPEN and self.backlog is None
        for member in self.members:
            member.sort()
