"""A differential fuzzer of a connection's first bytes, through the whole listening socket.

A head is made of parts (method, form of the target, version, header lines, their order and
encoding, what ends it and what follows) and sent twice: cut somewhere on a connection of its own,
and behind a request that was answered on the same connection, as proxies with pools send it. Both
ways it must be answered or closed within a second, once, by one parser, with the same code; a probe
behind it shows that nothing was answered twice and that the connection is still in step.

    python -m tests.fuzz.first_bytes --count 100000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import re
import socket
import struct
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partialmethod
from typing import Any, NamedTuple
from unittest.mock import patch

import structlog
from aiohttp import web

from hub.engine import Options, Server
from hub.engine.session.head import Head as Unread
from hub.plumbing.http.server import Handler

from .engine_bytes import damage

PATIENCE = 1.0
"""Seconds in which everything is to be answered or closed."""

AT_ALL = 5.0
"""Seconds after which it never will be: machines stand still at times."""

DEADLINE = 0.6
"""What the server gives a head, and a body, to arrive."""

AT_ONCE = 32
TICK = 0.02

KEY = b64encode(bytes(16))
RIGHT = {
    "method": b"GET", "host": b"", "path": b"/socket.io/", "query": b"?EIO=4&transport=websocket",
    "version": b"HTTP/1.1", "Host": b"h", "Connection": b"Upgrade", "Upgrade": b"websocket",
    "Sec-WebSocket-Version": b"13", "Sec-WebSocket-Key": KEY,
}  # fmt: skip
"""The parts of a head that opens a session."""

OTHER: dict[str, tuple[bytes | None, ...]] = {
    "method": (
        b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"PATCH", b"get", b"GETS",
        b"G", b"QUERY", b"",
    ),
    "host": (b"http://h", b"http://h:80", b"https://other", b"ws://h", b"http://[::1", b"h"),
    "path": (
        b"/socket.io-msgpack/", b"/socket.io-msgpack/", b"/socket%2Eio/", b"/health", b"/nothing",
        b"/", b"//socket.io/", b"/socket.io", b"/SOCKET.IO/", b"/socket.io/../socket.io/",
        b"/\xed\x95\x9c/", b"/socket.io/\xff", b"/a b", b"", b"*",
    ),
    "query": (
        b"?EIO=4&transport=polling", b"?EIO=3&transport=websocket", b"?EIO=3&transport=polling",
        b"", b"?", b"?transport=websocket", b"?EIO=4&transport=websocket&sid=unknown",
        b"?EIO=4&transport=polling&sid=unknown", b"?EIO=4&transport=websocket&sid=",
        b"?EIO=4&EIO=3", b"?%45IO=4&transport=web%73ocket", b"?EIO=4&transport=websocket#x",
        b"?EIO=4&transport=websocket&x=\xff%ff%zz%", b"?EIO=4&transport=webtransport",
        b"?EIO=4&transport=websocket&" + b"&".join(b"k%d=v" % n for n in range(70)),
    ),
    "version": (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/11", b""),
    "Host": (None, b"", b"other", b"h:80", b"h\xff"),
    "Connection": (
        None, b"upgrade", b"keep-alive, Upgrade", b"Upgrade, close", b"close", b"keep-alive", b"",
        b"Upgrade,", b"\tUpgrade ", b"up grade",
    ),
    "Upgrade": (
        None, b"WebSocket", b"websocket, h2c", b"h2c", b"", b"websocket\xff", b"web socket", b"tcp",
    ),
    "Sec-WebSocket-Version": (None, b"8", b"13, 8", b""),
    "Sec-WebSocket-Key": (None, b"short", b"", KEY[:-2] + b"\xff=", b"=" * 24),
}  # fmt: skip
EXTRA = (
    b"X-Forwarded-For: 198.51.100.7", b"X-Forwarded-For: [2001:db8::7]:9, \xff",
    b"X_Forwarded_For: 1.1.1.1", b"X-Forwarded-Proto: https", b"Origin: https://h", b"Origin: null",
    b"Origin: http://evil.example", b"Origin: \xff", b"Cookie: " + b"c" * 300,
    b"Cookie: " + b"c" * 9_000, b"Expect: 100-continue",
    b"Expect: tea", b"Content-Length: 0", b"Content-Length: 3", b"Content-Length: -1",
    b"Content-Length: 3\r\nContent-Length: 4", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip", b"Content-Encoding: gzip", b"Sec-WebSocket-Protocol: a, b",
    b"Sec-WebSocket-Protocol: a,,", b"Sec-WebSocket-Key1: old", b"Host: other",
    b"Accept-Encoding: gzip",
    b"User-Agent: caf\xe9", b"X: a\r\n b", b": nameless", b"no colon", b"X: \x00", b"X\x00: a",
    b"Upgrade: websocket", b"Connection: close", b"Sec-WebSocket-Version: 8",
)  # fmt: skip
OTHERS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00" * 40, b"SSH-2.0-OpenSSH_9.6\r\n", b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n", b"\x80" * 30, b"GET /socket.io/ HTTP/1.1\nHost: h\n\n",
)  # fmt: skip
PROBE = b"GET /probe HTTP/1.1\r\nHost: h\r\nX-Probe: 1\r\n\r\n"
BEFORE = b"GET /before HTTP/1.1\r\nHost: h\r\n\r\n"
HANG_UP = b"\x81\x81\x00\x00\x00\x001"  # Engine.IO's CLOSE in a masked frame


class Head(NamedTuple):
    """``whole``: a request that ends, with no body and nothing behind it."""

    data: bytes
    whole: bool


class Told(NamedTuple):
    """What came of a head: the status (0: closed without one) and the code in its body."""

    status: int
    code: str


@dataclass
class Report:
    """How many heads there were, what they were answered, the slowest, and what was wrong."""

    inputs: int = 0
    seconds: float = 0.0
    endings: Counter[str] = field(default_factory=Counter)
    waited: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return sorted(self.waited)[int(len(self.waited) * 0.99)] if self.waited else 0.0


def make_head(rng: random.Random) -> Head:
    if rng.random() < 0.03:
        return Head(rng.choice(OTHERS), whole=False)
    part: dict[str, bytes | None] = {**RIGHT}
    for name in rng.sample(tuple(OTHER), rng.choice((0, 0, 1, 1, 1, 2, 3))):
        part[name] = rng.choice(OTHER[name])
    first = [part.pop(name) or b"" for name in ("method", "host", "path", "query", "version")]
    line = b" ".join((first[0], b"".join(first[1:4]), first[4]))
    lines = [b"%s: %s" % (name.encode(), part[name]) for name in part if part[name] is not None]
    extra = [rng.choice(EXTRA) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))]
    lines += extra
    rng.shuffle(lines)
    if rng.random() < 0.1:
        lines = [rng.choice((part.lower(), part.upper())) for part in lines]
    data = b"\r\n".join((line, *lines)) + b"\r\n\r\n"
    framed = any(b"Content-Length" in one or b"Transfer-Encoding" in one for one in extra)
    kind = rng.random()
    if kind < 0.03:
        return Head(damage(rng, data) or b"\r", whole=False)
    if kind < 0.05:
        return Head(data.replace(b"\r\n", b"\n"), whole=False)
    if kind < 0.06:
        return Head(data[: rng.randrange(1, len(data))], whole=False)
    if kind < 0.08:
        return Head(data + rng.choice((b"abc", b"3\r\nabc\r\n0\r\n\r\n", HANG_UP)), whole=False)
    return Head(data, whole=not framed)


class Ear(asyncio.Protocol):
    """One connection as its client sees it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.closed = False
        self.bodiless = False  # the answer to HEAD
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._news.set()

    async def until(self, true: Callable[[], object]) -> bool:
        """Whether it came true in time; the end of the connection ends the waiting."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AT_ALL):
                while not true() and not self.closed:
                    self._news.clear()
                    await self._news.wait()
        return bool(true())

    def answer(self) -> tuple[int, bytes, int] | None:
        """Status, body and end of the first answer, once it is whole. 100 Continue is none."""
        at = 0
        while (end := self.heard.find(b"\r\n\r\n", at)) >= 0:
            head = bytes(self.heard[at:end])
            status = int(head.split(b" ", 2)[1])
            size = re.search(rb"(?i)content-length: (\d+)", head)
            stop = end + 4 + (int(size[1]) if size and status != 101 and not self.bodiless else 0)
            if status != 100:
                return (status, bytes(self.heard[end + 4 : stop]), stop) if self.has(stop) else None
            at = stop
        return None

    def has(self, size: int) -> bool:
        return len(self.heard) >= size


class FirstBytes:
    """One server, and the heads."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.report = Report()
        self.options = Options(
            accept_rate=10**9, conn_max_ip=10**6, connect_timeout=DEADLINE, ping_interval=3_600
        )
        self.server = Server(self.options)
        self.turns: Counter[int] = Counter()
        self.stood = 0.0
        """Seconds in which neither the server nor its clients ran, as others had the machine."""

    def wrong(self, what: str) -> None:
        if len(self.report.wrong) < 20:
            self.report.wrong.append(what)

    async def run(self, count: int) -> Report:
        loop = asyncio.get_running_loop()
        handler, configured = loop.get_exception_handler(), structlog.get_config()
        loop.set_exception_handler(lambda _, context: self.wrong(f"escaped: {context}"))
        structlog.configure(processors=[self._told], cache_logger_on_first_use=False)
        app = web.Application()
        for path in ("/probe", "/before"):
            app.router.add_get(path, self._here)
        port = await self.server.listen("127.0.0.1", 0, app)
        hands = self._watch()
        watch = asyncio.create_task(self._watch_machine())
        started = time.monotonic()
        try:
            heads = iter([make_head(self.rng) for _ in range(count)])
            await asyncio.gather(*(self._worker(port, heads) for _ in range(AT_ONCE)))
            await self._nothing_left()
        finally:
            self.report.seconds = time.monotonic() - started
            watch.cancel()
            await self.server.close()
            hands.close()
            structlog.configure(**configured)
            loop.set_exception_handler(handler)
        return self.report

    async def _here(self, request: web.Request) -> web.Response:
        return web.Response(text="here" if "X-Probe" in request.headers else "before")

    def _told(self, _: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        if level not in ("debug", "info"):
            self.wrong(f"{level}: {dict(event)}")
        raise structlog.DropEvent

    def _watch(self) -> ExitStack:
        """Count how often each connection changes hands: once to aiohttp and once back is all."""

        def counted(one: Any, way: Callable[..., Any], *more: Any) -> Any:
            port = one.transport.get_extra_info("peername")[1]
            self.turns[port] += 1
            if self.turns[port] > 2:
                self.wrong("a connection was passed on three times")
                one.transport.abort()
            return way(one, *more)

        watch = ExitStack()
        for owner, name in ((Unread, "hand_over"), (Handler, "give_away")):
            way: Any = getattr(owner, name)
            watch.enter_context(patch.object(owner, name, partialmethod(counted, way)))
        return watch

    async def _watch_machine(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            late = loop.time() - due
            if late > TICK:
                self.stood += late

    async def _worker(self, port: int, heads: Any) -> None:
        for head in heads:
            self.report.inputs += 1
            cut = self.rng.randrange(len(head.data) + 1)
            for _ in range(2):  # once more where the machine stood still for the deadline
                first = await self._try(port, (head.data[:cut], head.data[cut:]), head)
                behind = await self._try(port, (BEFORE, head.data), head)
                if (first.status and behind.status) or not head.whole:
                    break
            self.report.endings[str(first.status or "closed")] += 1
            if (head.whole and first != behind) or behind.code.startswith("a plain"):
                self.wrong(f"{first} at first, {behind} behind another: {head.data!r}")

    async def _try(self, port: int, chunks: tuple[bytes, bytes], head: Head) -> Told:
        loop = asyncio.get_running_loop()
        transport, ear = await loop.create_connection(Ear, "127.0.0.1", port)
        self.turns.pop(transport.get_extra_info("sockname")[1], None)
        try:
            transport.write(chunks[0])
            if chunks[0] == BEFORE:
                await ear.until(ear.answer)
                answered = ear.answer()
                if answered is None:
                    return Told(0, "a plain request was not answered")
                del ear.heard[: answered[2]]
            elif chunks[0]:
                await asyncio.sleep(0)  # so that the server reads the pieces one by one
                await asyncio.sleep(0)
            ear.bodiless = head.data.startswith(b"HEAD ")
            begin, stood = loop.time(), self.stood
            transport.write(chunks[1])
            answered = ear.answer() if await ear.until(ear.answer) else None
            self.report.waited.append(loop.time() - begin - (self.stood - stood))
            if answered is None and not ear.closed:
                self.wrong(f"neither answered nor closed: {chunks!r}")
            if answered is None:
                return Told(0, "")
            if head.whole:
                await self._in_step(transport, ear, answered)
            return Told(answered[0], _code_of(answered[1]))
        finally:
            transport.abort()

    async def _in_step(
        self, transport: asyncio.Transport, ear: Ear, answered: tuple[int, bytes, int]
    ) -> None:
        """Nothing stands behind the answer but the answer to a probe."""
        status, body, end = answered
        if ear.bodiless and ear.heard[end:].startswith(b"{"):
            return  # a HEAD that nobody could read
        if status == 101:
            transport.write(HANG_UP)
            if not await ear.until(lambda: ear.closed):
                self.wrong("a WebSocket that said goodbye was not closed")
            if not ear.heard[end:].startswith(b"\x81") or b"HTTP/1" in ear.heard[end:]:
                self.wrong(f"behind 101: {bytes(ear.heard[end:])!r}")
            return
        del ear.heard[:end]
        ear.bodiless = False
        transport.write(PROBE)
        await ear.until(ear.answer)
        probe = ear.answer()
        if probe is None and ear.heard:
            self.wrong(f"behind {status} {body!r}: {bytes(ear.heard)!r}")
        elif probe is not None and (probe[:2] != (200, b"here") or len(ear.heard) > probe[2]):
            self.wrong(f"behind {status} {body!r}: {probe!r}")

    async def _nothing_left(self) -> None:
        listener = self.server._listener
        assert listener is not None
        sessions, of = self.server.eio.sockets, listener.transports
        for _ in range(200):
            if not (sessions or of.counted.open or of.open):
                return
            await asyncio.sleep(0.02)
        self.wrong(f"left: {len(sessions)} sessions, {of.counted.open} open")


def _code_of(body: bytes) -> str:
    match = re.search(rb'"code":("?\w+)', body)
    return match[1].decode() if match else ""


async def fuzz(count: int, seed: int) -> Report:
    """``count`` heads made from ``seed``."""
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    return await FirstBytes(seed).run(count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import uvloop

    report = uvloop.run(fuzz(args.count, args.seed))
    print(f"{report.inputs} heads in {report.seconds:.0f} s: {dict(report.endings)}")
    print(f"answered within {report.p99 * 1000:.0f} ms (p99), {max(report.waited) * 1000:.0f} ms")
    print("\n".join(report.wrong) or "nothing wrong")


if __name__ == "__main__":
    main()
