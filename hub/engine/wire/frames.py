"""WebSocket frames of a server (RFC 6455 §5.2: never masked), and the reader lent to a
connection for whatever is not a whole unfragmented text frame."""

from __future__ import annotations

import logging
from struct import pack

from websockets.protocol import OPEN, SERVER, Protocol

TEXT = 0x81
BINARY = 0x82
CLOSE = 0x88

Part = tuple[int, bytes]
"""One message of Engine.IO: TEXT or BINARY, and its bytes (text with its packet type before)."""

READERS_KEPT = 64

_quiet = logging.getLogger("hub.engine.websocket")
_quiet.setLevel(logging.CRITICAL)


def frame(opcode: int, payload: bytes) -> bytes:
    """One final frame."""
    size = len(payload)
    if size < 126:
        return bytes((opcode, size)) + payload
    if size < 65_536:
        return pack("!BBH", opcode, 126, size) + payload
    return pack("!BBQ", opcode, 127, size) + payload


def frames(parts: tuple[Part, ...]) -> bytes:
    """All messages of one packet (a binary packet has several), ready to be written."""
    if len(parts) == 1:
        return frame(*parts[0])
    return b"".join([frame(*part) for part in parts])


def close_frame(code: int, reason: str = "") -> bytes:
    """The close frame (RFC 6455 §5.5.1)."""
    return frame(CLOSE, pack("!H", code) + reason.encode())


PING = frame(TEXT, b"2")
PROBE_PONG = frame(TEXT, b"3probe")
NOOP = frame(TEXT, b"6")


class Readers:
    """A few idle WebSocket readers; a connection holds one only while a frame is incomplete or
    a fragmented message is open, so that an idle connection holds none."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._idle: list[Protocol] = []

    def take(self) -> Protocol:
        if self._idle:
            return self._idle.pop()
        return Protocol(SERVER, max_size=self._max_size, logger=_quiet)

    def give_back(self, reader: Protocol) -> bool:
        """Whether it stands between two messages, and so was taken back."""
        if reader.state is not OPEN or reader.current_size is not None or reader.reader.buffer:
            return False
        if len(self._idle) < READERS_KEPT:
            self._idle.append(reader)
        return True
