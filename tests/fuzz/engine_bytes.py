"""A byte-level fuzzer of the engine: handshakes, frames, Engine.IO and Socket.IO packets of both
parsers, attachments and polling bodies, made from right ones by small damage.

Each input is a connection of its own to one server that also holds a bystander. An input fails
when an exception escapes, when something of it is left after it is gone, when a connection that
was not closed does not answer any more, or when the bystander is disturbed.

    python -m tests.fuzz.engine_bytes --count 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgpack
from aiohttp import web

from hub.engine import Options, Server
from hub.engine.face.conversation import Conversation
from hub.engine.session.connection import Connection
from hub.engine.session.head import ANSWERED, PASSED_ON, Head
from hub.engine.session.incoming import CLOSING, OPEN
from hub.engine.session.listener import Listener
from hub.engine.session.polling import BadRequest, Poller

HEAD = (
    b"GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PLAIN, PACKED = HEAD % b"/socket.io/", HEAD % b"/socket.io-msgpack/"

TEXTS = (
    b"40", b'40{"token":"t"}', b'40{"pid":"p","offset":"0001"}', b"40/custom,", b"41",
    b"41/custom,",
    b'42["echo",1]', b'420["echo",{"a":[1,2,{"b":null}]}]', b'42/custom,7["echo","x"]',
    b'4212345["later","x"]', b'431["ack"]', b'430[]', b'44{"message":"x"}', b"3", b"2", b"1", b"5",
    b"6", b"2probe", b'451-["echo",{"_placeholder":true,"num":0}]', b"461-1[]",
    b'452-7["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', b"4", b"b", b"",
    '42["echo","안녕 \U0001f600"]'.encode(), b'42["echo",1e400]', b'42["__proto__",{}]',
    b'42["echo",' + b"[" * 40 + b"]" * 41,
)  # fmt: skip
PACKETS = tuple(
    msgpack.packb(packet)
    for packet in (
        {"type": 0, "nsp": "/"},
        {"type": 0, "nsp": "/", "data": {"token": "t"}},
        {"type": 2, "nsp": "/", "id": 1, "data": ["echo", b"\x01", {"a": 1}]},
        {"type": 3, "nsp": "/", "id": 1, "data": []},
        {"type": 2, "nsp": "/", "id": "x", "data": ["echo"]},
        {"type": 1, "nsp": "/"},
    )
)
TOKENS = (
    b"[", b"]", b"{", b"}", b'"', b",", b"-", b"/", b"\x1e", b"\xff", b"\x00", b"0", b"9" * 20,
    b"[" * 200, b'{"a":' * 50, b"\xed\xa0\x80", b"\xc3", b"_placeholder", b'"num":-1', b"\r\n\r\n",
)  # fmt: skip


@dataclass
class Report:
    """How many inputs there were, how they ended, and what was wrong (nothing, one hopes)."""

    inputs: int = 0
    seconds: float = 0.0
    endings: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Pipe(asyncio.Transport):
    """The transport of one input: bytes go nowhere, closing is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def damage(rng: random.Random, data: bytes) -> bytes:
    """A few small changes."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randrange(1, 5)]
        elif kind == 2:
            out[at:at] = rng.choice(TOKENS)
        elif kind == 3:
            out[at:at] = out[: rng.randrange(len(out) + 1)]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.randrange(1, 5))
        else:
            del out[at:]
    return bytes(out[:4_000])


def client_frame(rng: random.Random, opcode: int, payload: bytes) -> bytes:
    """A masked frame; now and then not minimal, not masked, not final or with reserved bits."""
    first = 0x80 | opcode
    if rng.random() < 0.03:
        first ^= 1 << rng.randrange(4, 8)
    size, mask = len(payload), rng.randbytes(4)
    if rng.random() < 0.02:
        size += rng.choice((1, 200, 70_000, -1)) if size else 1
    masked = 0 if rng.random() < 0.01 else 0x80
    if size > 65_535 or rng.random() < 0.01:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    elif size > 125 or rng.random() < 0.02:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | size))
    body = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
    return head + (mask + body if masked else payload)


def websocket_input(rng: random.Random) -> bytes:
    """A handshake and some frames."""
    packed = rng.random() < 0.2
    head = PACKED if packed else PLAIN
    if rng.random() < 0.15:
        head = damage(rng, head)
    data = head
    seeds, opcode = (PACKETS, 2) if packed else (TEXTS, 1)
    if rng.random() < 0.8:
        data += client_frame(rng, opcode, seeds[0])
    for _ in range(rng.randrange(4)):
        kind = opcode if rng.random() < 0.85 else rng.choice((0, 1, 2, 8, 9, 10))
        payload = damage(rng, rng.choice(seeds))
        if kind >= 8:
            payload = payload[:125]
        data += client_frame(rng, kind, payload)
    return data if rng.random() < 0.95 else damage(rng, data)


class Fuzz:
    """One server, one bystander, and the inputs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.report = Report()
        options = Options(
            cors_origins="*", accept_rate=10**9, max_payload=3_000, ping_interval=3_600
        )
        self.server = Server(options, namespaces=["/", "/custom"])
        self.server.on("echo", lambda sid, *args: args)
        self.server.on("later", self._later)
        self.book = self.server.book
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self._escaped)

    async def _later(self, sid: str, *args: Any) -> Any:
        await asyncio.sleep(0)
        return args

    def _escaped(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._wrong(f"escaped: {context.get('message')} {context.get('exception')!r}")

    def _wrong(self, what: str) -> None:
        if len(self.report.wrong) < 20:
            self.report.wrong.append(f"input {self.report.inputs}: {what}")

    async def run(self, count: int) -> Report:
        await self.server.listen("127.0.0.1", 0, web.Application())
        listener = self.server._listener
        assert listener is not None
        started = time.monotonic()
        bystander, ears = self._open(listener, PLAIN + client_frame(random.Random(0), 1, b"40"))
        while self.report.inputs < count:
            self.report.inputs += 1
            if self.rng.random() < 0.25:
                self._polling(self.rng)
            else:
                await self._websocket(listener, websocket_input(self.rng))
            if self.report.inputs % 64 == 0:
                self._ask(bystander, ears, "the bystander")
                await self._nothing_left()
        self.report.seconds = time.monotonic() - started
        self.report.faults = dict(self.book.counters.rejected)
        bystander.connection_lost(None)
        await self.server.close()
        return self.report

    def _open(self, listener: Listener, data: bytes) -> tuple[Connection, Pipe]:
        pipe = Pipe()
        pipe.protocol = Head(listener.entrance)
        pipe.protocol.connection_made(pipe)
        pipe.protocol.data_received(data)
        assert isinstance(pipe.protocol, Connection)
        return pipe.protocol, pipe

    async def _websocket(self, listener: Listener, data: bytes) -> None:
        pipe = Pipe()
        head = pipe.protocol = Head(listener.entrance)
        try:
            head.connection_made(pipe)
            cut = self.rng.randrange(len(data) + 1)
            for chunk in (data[:cut], data[cut:]):
                if chunk and not pipe.closed:
                    pipe.protocol.data_received(chunk)
            if isinstance(pipe.protocol, Connection):
                self._ending(pipe.protocol, pipe)
            else:
                self._ending_of_head(head, pipe)
            pipe.protocol.connection_lost(None)
        except Exception as error:
            self._wrong(f"raised {error!r} for {data!r}")
        if head.stage == PASSED_ON:
            await asyncio.sleep(0)

    def _ending_of_head(self, head: Head, pipe: Pipe) -> None:
        if head.stage == PASSED_ON:
            self.report.endings["handed over"] += 1
        elif pipe.closed:
            self.report.endings["closed"] += 1
            if head.stage != ANSWERED:
                self._wrong("the transport is closed without an answer")
        elif head.stage == ANSWERED:
            self._wrong("answered, but the transport is not closed")
        else:
            self.report.endings["waits for more"] += 1
            if not head.deadline_slot:
                self._wrong("waits without a deadline")

    def _ending(self, connection: Connection, pipe: Pipe) -> None:
        if pipe.closed:
            self.report.endings["closed"] += 1
            if connection.phase != CLOSING:
                self._wrong("the transport is closed, the session is not")
        elif connection.phase == CLOSING:
            self._wrong("the session is closed, the transport is not")
        elif connection.phase != OPEN or connection.reader or connection.buffer:
            self.report.endings["waits for more"] += 1
            if not connection.deadline_slot and not connection.beat_slot:
                self._wrong("waits without a deadline")
        else:
            self.report.endings["lives"] += 1
            talk = connection.hearer
            assert isinstance(talk, Conversation)
            if connection.codec == 0 and talk.pending is None and talk.members:
                self._ask(connection, pipe, "the connection", leaves=True)

    def _ask(self, connection: Connection, pipe: Pipe, who: str, leaves: bool = False) -> None:
        """A live connection answers; one that has left the namespace may not."""
        assert isinstance(connection.hearer, Conversation)
        member = connection.hearer.member("/")
        if member is None or member.jobs is not None:
            if not leaves:
                self._wrong(f"{who} has lost its place")
            return
        pipe.written.clear()
        connection.data_received(client_frame(random.Random(1), 1, b'4277["echo","?"]'))
        self.book.cork.release()  # as at the end of the round
        if b'4377["?"]' not in pipe.written:
            self._wrong(f"{who} does not answer: {bytes(pipe.written)!r}")

    def _polling(self, rng: random.Random) -> None:
        self.book.limits.take("10.0.0.1")
        sid = self.book.new_id()
        codec = int(rng.random() < 0.2)
        poller = Poller(self.book, sid, codec, {"REMOTE_ADDR": "10.0.0.1"})
        self.book.sessions[sid] = poller
        poller.start_clock()
        poller.hearer = self.server.eio.hear(poller)
        try:
            for _ in range(rng.randrange(1, 4)):
                if not poller.over:
                    poller.take_body(self._body(rng, codec))
            self.report.endings["polling: lives"] += 1
        except BadRequest:
            self.report.endings["polling: refused"] += 1
            if not poller.over:
                self._wrong("refused, but the session lives on")
        except Exception as error:
            self._wrong(f"polling raised {error!r}")
        poller.end("transport error")

    def _body(self, rng: random.Random, codec: int) -> bytes:
        packets = []
        for _ in range(rng.randrange(1, 4)):
            if codec:
                packets.append(b"b" + b64encode(damage(rng, rng.choice(PACKETS))))
            elif rng.random() < 0.1:
                packets.append(b"b" + b64encode(rng.randbytes(3)))
            else:
                packets.append(rng.choice(TEXTS))
        body = b"\x1e".join(packets)
        return body if rng.random() < 0.5 else damage(rng, body)

    async def _nothing_left(self) -> None:
        """Once the handlers that still run have ended."""
        for _ in range(100):
            await asyncio.sleep(0)
            if self._left() == (1, 1, 1, 0):
                return
        self._wrong(f"left behind: sockets, limits, members, rooms = {self._left()}")

    def _left(self) -> tuple[int, int, int, int]:
        members = sum(len(space.members) for space in self.server.manager.namespaces.values())
        rooms = sum(len(space.rooms) for space in self.server.manager.namespaces.values())
        return len(self.book.sessions), self.book.limits.open, members, rooms


async def fuzz(count: int, seed: int) -> Report:
    """``count`` inputs made from ``seed``."""
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    return await Fuzz(seed).run(count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import uvloop

    report = uvloop.run(fuzz(args.count, args.seed))
    gc.collect()
    print(f"{report.inputs} inputs in {report.seconds:.0f} s: {dict(report.endings)}")
    print(f"counted faults: {report.faults}")
    print("\n".join(report.wrong) or "nothing wrong")


if __name__ == "__main__":
    main()
