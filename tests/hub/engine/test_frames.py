"""Our reading of WebSocket frames against the ``websockets`` library: the same messages, and the
same close code, or both refuse, however the bytes are cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from hub.engine import Options
from hub.engine.session.book import Book
from hub.engine.session.connection import Connection
from hub.engine.session.incoming import OPEN
from hub.engine.session.link import Link
from hub.engine.session.transports import Transports
from hub.engine.wire.frames import Readers, frame
from hub.plumbing.http.connections import Connections

LIMIT = 300


class Recorder:
    """A hearer that keeps what arrives."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.messages: list[str | bytes] = []

    def text(self, payload: bytes) -> None:
        try:
            self.messages.append(payload.decode())
        except UnicodeDecodeError:
            self._link.reject("utf8")

    def binary(self, payload: bytes) -> None:
        self.messages.append(payload)

    def sort(self) -> None: ...

    def moved(self, link: Link) -> None: ...

    def closed(self, reason: str) -> None: ...


class FakeTransport(asyncio.Transport):
    """The other end's view: bytes written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


def ours(chunks: list[bytes]) -> tuple[list[str | bytes], int | None, bool]:
    """Messages, close code sent, and whether the transport was closed."""
    return asyncio.run(_ours(chunks))


async def _ours(chunks: list[bytes]) -> tuple[list[str | bytes], int | None, bool]:
    book = Book(Options(max_payload=LIMIT))
    transport = FakeTransport()
    transports = Transports(Connections(None, 1), Readers(LIMIT))
    connection = Connection(book, transports, transport, None)
    book.limits.take("a")
    connection.address = "a"
    recorder = Recorder(connection)
    book.sessions["sid"] = connection
    connection.open("sid", None, b"", lambda _: recorder)
    transport.written = b""  # without the OPEN packet
    for chunk in chunks:
        connection.data_received(chunk)
    book.close()
    assert connection.phase == OPEN or transport.closed
    return recorder.messages, _close_code(transport.written), transport.closed


def _close_code(written: bytes) -> int | None:
    while written:
        size, start = written[1], 2
        if size == 126:
            size, start = int.from_bytes(written[2:4], "big"), 4
        if written[0] == 0x88:
            return int.from_bytes(written[2:4], "big") if size else 1005
        written = written[start + size :]
    return None


def theirs(chunks: list[bytes]) -> tuple[list[str | bytes], int | None, bool]:
    """The library's reading; joining and UTF-8 are left to its callers, so they are done here."""
    reader = Protocol(SERVER, max_size=LIMIT)
    messages: list[str | bytes] = []
    joined, opcode, code = b"", Opcode.TEXT, None
    for chunk in chunks:
        reader.receive_data(chunk)
        for got in reader.events_received():
            assert isinstance(got, Frame)
            if got.opcode in (Opcode.TEXT, Opcode.BINARY):
                opcode, joined = got.opcode, b""
            elif got.opcode is not Opcode.CONT:
                continue
            joined += bytes(got.data)
            if got.fin and opcode is Opcode.BINARY:
                messages.append(joined)
            elif got.fin:
                try:
                    messages.append(joined.decode())
                except UnicodeDecodeError:
                    if not joined.startswith(b"4"):  # answered by its type, whatever follows it
                        messages.append(joined.decode(errors="replace"))
                    return messages, 1007, True
    if reader.close_sent is not None:
        code = int(reader.close_sent.code)
    return messages, code, reader.close_sent is not None or reader.parser_exc is not None


masks = st.binary(min_size=4, max_size=4)
bodies = st.one_of(
    st.binary(max_size=140), st.text(max_size=100).map(lambda text: ("4" + text).encode())
)


@st.composite
def client_frames(draw: st.DrawFn) -> bytes:
    """Mostly a right frame; sometimes one with a bit, a length or the mask wrong."""
    first = draw(st.sampled_from([0x81] * 6 + [0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A]))
    first |= draw(st.sampled_from([0] * 20 + [0x40, 0x10, 0x03, 0x0B]))
    body, mask = draw(bodies), draw(masks)
    if first & 0x0F == 8:
        body = draw(st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x00\x01", b"\x03"]))
    masked = draw(st.sampled_from([True] * 20 + [False]))
    wide = draw(st.sampled_from([0] * 20 + [126, 127]))
    lie = draw(st.sampled_from([0] * 20 + [1, 1000, 70_000]))
    size = len(body) + lie
    if wide == 127 or size > 65_535:
        head = bytes((first, 127 | 0x80 * masked)) + size.to_bytes(8, "big")
    elif wide == 126 or size > 125:
        head = bytes((first, 126 | 0x80 * masked)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, size | 0x80 * masked))
    if not masked:
        return head + body
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    data = b"".join(draw(st.lists(client_frames(), max_size=6)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def _engine_packet(message: str | bytes) -> bool:
    """Whether the recorder would have been given it: the rest is Engine.IO's to answer."""
    return isinstance(message, bytes) or message.startswith("4")


@given(streams())
@example([b"\x81\x82\x00\x00\x00\x000\x80"])
@example([b"\x81\x82\x00\x00\x00\x004\x80"])
@example([b"\x81\x81\x00\x00\x00\x000\x81\x81\x00\x00\x00\x004"])
def test_fuzz_frames_are_read_as_the_library_reads_them(chunks: list[bytes]) -> None:
    messages, code, closed = theirs(chunks)
    got, our_code, our_closed = ours(chunks)
    for index, message in enumerate(messages):
        if not _engine_packet(message):  # ours closes there, or answers and goes on
            assert got[:index] == messages[:index][: len(got)]
            return
    assert got == messages
    assert our_closed is closed
    if code is not None:
        assert our_code == code


def test_a_megabyte_in_single_bytes_is_not_copied_for_each() -> None:
    """An incomplete long frame is kept by a reader whose buffer grows in place."""
    engine_limit = 200
    head = b"\x82\xfe" + engine_limit.to_bytes(2, "big") + b"\0\0\0\0"
    messages, _, closed = ours([bytes((byte,)) for byte in head + b"x" * engine_limit])
    assert (messages, closed) == ([b"x" * engine_limit], False)


def test_frame_lengths() -> None:
    for size in (0, 125, 126, 65_535, 65_536):
        wire = frame(0x82, b"x" * size)
        reader = Protocol(SERVER)
        masked = bytes((wire[0], wire[1] | 0x80)) + wire[2 : len(wire) - size] + bytes(4)
        reader.receive_data(masked + b"x" * size)
        assert [len(got.data) for got in reader.events_received()] == [size]  # type: ignore[union-attr]
