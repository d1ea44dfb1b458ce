"""One HTTP/2 connection as a client (RFC 9113): many requests at once, each with its own answer.

h2 knows the protocol; here stands what it leaves to whoever has the socket. One thing is taken out
of its hands: after a GOAWAY it reads nothing more, although the server still answers what it had
taken up (§6.8). So GOAWAY frames are read here, and h2 never sees them.
"""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self, cast

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

MAX_ANSWER_BYTES: Final = 65_536
_HEAD_BYTES: Final = 9
_GOAWAY: Final = 7
_MAX_FRAME_BYTES: Final = 16_384
"""SETTINGS_MAX_FRAME_SIZE as it stands when nobody says otherwise (§6.5.2), and we do not."""


class NotTaken(ConnectionError):
    """The server did not take this request up, and says so: it may be sent again (§8.7)."""


class Lost(ConnectionError):
    """The answer will not come; whether the request was carried out nobody knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Stream:
    answer: "asyncio.Future[Answer]"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """Made by `open`. `usable`: whether a new request may be begun on it."""

    def __init__(self) -> None:
        self.usable = True
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._loop = asyncio.get_running_loop()
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._streams: dict[int, _Stream] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._unread = bytearray()
        self._heard = 0
        self._transport: asyncio.Transport | None = None

    @property
    def over(self) -> bool:
        return self._lost.done()

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None) -> Self:
        """Connected, and with the server's settings known: how many requests it takes at once.

        Raises OSError.
        """
        loop = asyncio.get_running_loop()
        transport, self = await loop.create_connection(cls, host, port, ssl=tls)
        try:
            await self._greeted
        except BaseException:
            transport.abort()
            raise
        return self

    async def request(self, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Waits for a place among the requests the server takes at once. Raises NotTaken or Lost.

        Whoever gives up takes back only this request. When nothing at all was heard meanwhile, the
        connection may be dead, and nobody else is to begin on it.
        """
        while self.usable and self._h2.open_outbound_streams >= self._most_streams():
            await self._change()
        if not self.usable:
            raise NotTaken("the connection ends")
        heard = self._heard
        id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(id, headers)
        stream = self._streams[id] = _Stream(self._loop.create_future())
        try:
            if not await self._send_body(id, stream, body):
                self._take_back(id)
            return await stream.answer
        except asyncio.CancelledError:
            self._take_back(id)
            if self._heard == heard:
                self.retire()
            raise
        finally:
            del self._streams[id]
            if stream.answer.done() and not stream.answer.cancelled():
                stream.answer.exception()  # whoever gave up need not be told that nobody asked
            self._ended()

    def retire(self) -> None:
        """Nothing new begins on it; it closes when the last answer is there."""
        self.usable = False
        self._wake()
        self._ended()

    async def close(self) -> None:
        """At once; whoever still waits gets Lost."""
        self.usable = False
        if self._transport is not None and not self._lost.done():
            self._h2.close_connection()
            self._flush()
            self._transport.abort()
            await self._lost

    def _most_streams(self) -> int:
        return self._h2.remote_settings.max_concurrent_streams

    async def _send_body(self, id: int, stream: _Stream, body: bytes) -> bool:
        """In pieces, where the server's window is smaller than the body (§5.2). False when the
        answer came first."""
        sent = 0
        while not stream.answer.done():
            room = min(self._h2.local_flow_control_window(id), self._h2.max_outbound_frame_size)
            piece = body[sent : sent + max(0, room)]
            sent += len(piece)
            if piece or not body:
                self._h2.send_data(id, piece, end_stream=sent == len(body))
            self._flush()
            if sent == len(body):
                return True
            await self._change()
        return False

    def _take_back(self, id: int) -> None:
        try:
            self._h2.reset_stream(id, ErrorCodes.CANCEL)
        except ProtocolError:
            return  # it has ended meanwhile
        self._flush()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() != "h2":
            self._fail(Lost("no HTTP/2 is spoken there"))
            return
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._fail(Lost("the connection was cut"))
        if not self._lost.done():
            self._lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._heard += 1
        try:
            for frame in self._frames():
                if frame[3] == _GOAWAY:
                    self._went_away(frame)
                    continue
                for event in self._h2.receive_data(frame):
                    self._handle(event)
        except (ProtocolError, ValueError):
            self._fail(Lost("what came is no HTTP/2"))
        self._flush()
        self._wake()

    def _frames(self) -> Iterator[bytes]:
        """Whole frames. Raises ValueError for one that is longer than we allow."""
        while len(self._unread) >= _HEAD_BYTES:
            length = int.from_bytes(self._unread[:3], "big")
            if length > _MAX_FRAME_BYTES:
                raise ValueError("a frame is too long")
            whole = _HEAD_BYTES + length
            if len(self._unread) < whole:
                return
            frame = bytes(self._unread[:whole])
            del self._unread[:whole]
            yield frame

    def _went_away(self, frame: bytes) -> None:
        """What the server had not taken up may go another way at once; the rest is answered."""
        last = int.from_bytes(frame[_HEAD_BYTES : _HEAD_BYTES + 4], "big") & 0x7FFF_FFFF
        for id, stream in self._streams.items():
            if id > last and not stream.answer.done():
                stream.answer.set_exception(NotTaken("the connection ends"))
        self.retire()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged() if not self._greeted.done():
                self._greeted.set_result(None)
            case h2.events.ResponseReceived(stream_id=id, headers=headers):
                if id in self._streams:
                    self._streams[id].headers = {_text(k): _text(v) for k, v in headers}
            case h2.events.DataReceived(stream_id=id, data=data, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length, id)
                stream = self._streams.get(id)
                if stream is not None and len(stream.body) <= MAX_ANSWER_BYTES:
                    stream.body += data
            case h2.events.StreamEnded(stream_id=id) if id in self._streams:
                self._answered(self._streams[id])
            case h2.events.StreamReset(stream_id=id, error_code=code) if id in self._streams:
                refused = code == ErrorCodes.REFUSED_STREAM
                error = NotTaken("refused") if refused else Lost("the request was cut off")
                if not self._streams[id].answer.done():
                    self._streams[id].answer.set_exception(error)

    def _answered(self, stream: _Stream) -> None:
        if stream.answer.done():
            return
        status = stream.headers.get(":status", "")
        if not status.isdigit():
            stream.answer.set_exception(Lost("an answer without a status"))
            return
        body = bytes(stream.body) if len(stream.body) <= MAX_ANSWER_BYTES else b""
        stream.answer.set_result(Answer(int(status), stream.headers, body))

    def _ended(self) -> None:
        if not self.usable and not self._streams and self._transport is not None:
            self._transport.close()
        self._wake()

    def _fail(self, error: ConnectionError) -> None:
        self.usable = False
        if not self._greeted.done():
            self._greeted.set_exception(error)
        for stream in self._streams.values():
            if not stream.answer.done():
                stream.answer.set_exception(error)
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    async def _change(self) -> None:
        """Until something came in, or something ended."""
        waiting = self._loop.create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
