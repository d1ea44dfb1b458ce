"""The bytes that a WebSocket brings, read into messages.

Whole unfragmented text frames are unmasked in place; everything else is read by a lent reader of
the `websockets` library, so that an idle connection holds none.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol
from websockets.speedups import apply_mask

from hub.engine.session import reasons
from hub.engine.session.book import Book
from hub.engine.session.link import TURN, Link
from hub.engine.session.telemetry import count
from hub.engine.session.transports import Transports
from hub.engine.wire.frames import TEXT

SMALL = 4_096
"""An incomplete frame up to here waits as bytes; a longer one is read by a lent reader, whose
buffer grows without copying what it holds."""

PART = 512
"""What a reader is given at once: it takes all frames of that, and the shortest have 6 bytes."""


class Phase(IntEnum):
    """Of a WebSocket's life. One that asks to take over a polling session begins with PROBE. It is
    SLOW once too much waits for it: it hears and says nothing more until its turn to be closed."""

    PROBE = 0
    OPEN = 1
    SLOW = 2
    CLOSING = 3


PROBE, OPEN, SLOW, CLOSING = Phase


class Incoming(Link, asyncio.Protocol):
    """The reading half of a WebSocket connection."""

    __slots__ = ("buffer", "joined", "later", "phase", "reader", "transport", "transports")

    upgraded = True

    def __init__(self, book: Book, transports: Transports, transport: asyncio.Transport) -> None:
        super().__init__(book)
        # What the connections of the listening socket share.
        self.transports = transports
        # The event loop's; whoever writes past it asks `fd` and the backlog first.
        self.transport = transport
        self.phase = OPEN
        # Bytes that were received and not yet read.
        self.buffer = b""
        # Reading goes on in a later loop round: others have their turn first.
        self.later = False
        # The reader that is lent to this connection, while it needs one.
        self.reader: Protocol | None = None
        # The opcode and the data of a fragmented message so far.
        self.joined: bytearray | None = None

    # What is made of it.

    def _text(self, payload: bytes) -> None:
        """A whole text message."""
        raise NotImplementedError

    def _binary(self, payload: bytes) -> None:
        """A whole binary message."""
        raise NotImplementedError

    def _control(self, wire: bytes) -> None:
        """A control frame that answers one of the peer's, to be written in its turn."""
        raise NotImplementedError

    def _hung_up(self, reason: str, wire: bytes) -> None:
        """The peer said Close, or broke a rule of the protocol; `wire` answers it."""
        raise NotImplementedError

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.book.counters.bytes_in += len(data)
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        self._receive(data)

    # Turns.

    def _receive(self, data: bytes) -> None:
        """Read it, up to the mark of what may wait for handlers, and a turn at most: the rest
        waits unread."""
        counters = self.book.counters
        until = counters.frames_in + TURN
        while data and self.phase <= OPEN:
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
        waits = self.later or self.reading_paused or self.phase > OPEN
        if not waits and not self.transport.is_closing():
            self.transport.resume_reading()

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

    # Frames.

    def _read(self, data: bytes, until: int) -> bytes:
        """Take whole unfragmented masked text frames (RFC 6455 §5.2); the bytes returned are for a
        reader, or for later."""
        at, end, counters = 0, len(data), self.book.counters
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
            if stop > end or size > self.book.options.max_payload:
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
        self.reader = self.transports.readers.take()
        return data

    def _is_incomplete_text(self, data: bytes) -> bool:
        if data[0] != TEXT or (len(data) > 1 and not 0x80 <= data[1] <= 0xFE):
            return False
        if len(data) < 8 or data[1] != 0xFE:
            return len(data) < 8 or len(data) < 6 + data[1] - 0x80
        size = data[2] << 8 | data[3]
        return 126 <= size <= self.book.options.max_payload and len(data) < 8 + size

    def _feed(self, reader: Protocol, data: bytes) -> None:
        reader.receive_data(data)
        for received in reader.events_received():
            self.book.counters.frames_in += 1
            self._frame(cast(Frame, received))
            if self.phase == CLOSING:
                return
        writes = reader.data_to_send()
        if reader.close_sent is not None or reader.parser_exc is not None:
            self._reader_closed(reader, b"".join(writes))
            return
        for wire in writes:  # a pong (RFC 6455 §5.5.3)
            self._control(wire)
        if self.joined is None and self.transports.readers.give_back(reader):
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
        if reader.parser_exc is None:
            reason = reasons.TRANSPORT_CLOSE
        else:
            reason = reasons.BAD_PACKET
            code = reader.close_sent.code if reader.close_sent is not None else 1006
            count(self.book.counters.rejected, f"websocket_{int(code)}")
        self._hung_up(reason, wire)
