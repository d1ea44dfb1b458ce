"""What strangers and bad citizens do to a hub, from a process of their own:
`python -m tests.show.attackers NAME URL TOKEN SECONDS`. Each comes back as soon as it is closed.

They call from 127.0.0.2, so that what is done to their address is not done to the probe's.
"""

import asyncio
import base64
import contextlib
import gzip
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

FROM: Final = "127.0.0.2"
KEY: Final = base64.b64encode(bytes(16)).decode()
QUERY: Final = "/socket.io/?EIO=4&transport="
CHUNK: Final = 500
"""Packets written in one go."""

Attack = Callable[["Target"], Awaitable[None]]


class Target:
    """The hub under attack; `until` is when it is over (monotonic)."""

    def __init__(self, url: str, token: str, seconds: float) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.token = token
        self.until = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, local_addr=(FROM, 0))

    async def socket(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """An open WebSocket."""
        reader, writer = await self.dial()
        writer.write(head(QUERY + "websocket", "Connection: Upgrade\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer


def head(path: str, *lines: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{''.join(lines)}\r\n"
    ).encode()


def frame(text: str) -> bytes:
    """A text frame of a client under the mask that changes nothing."""
    data = text.encode()
    size = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


async def again(target: Target, once: Callable[[], Awaitable[None]]) -> None:
    """Until it is over; a closed connection is an answer."""
    while not target.over:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(5):
                await once()


async def flood(target: Target, first: str, rest: str) -> None:
    """Write `rest` without end on a WebSocket and read whatever comes, until it is closed."""

    async def once() -> None:
        reader, writer = await target.socket()
        writer.write(frame(first))
        drain = asyncio.create_task(_read(reader))
        chunk = b"".join(frame(packet) for packet in rest.split("\n")) * CHUNK
        try:
            while not target.over and not drain.done():
                writer.write(chunk)
                await writer.drain()
        finally:
            drain.cancel()
            writer.close()

    await again(target, once)


async def _read(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass


async def asking(target: Target, request: bytes, at_once: int = 16) -> None:
    """The same request on kept connections, each when the one before was answered."""

    async def one() -> None:
        async def once() -> None:
            reader, writer = await target.dial()
            try:
                while not target.over:
                    writer.write(request)
                    if not await reader.read(65536):
                        return
            finally:
                writer.close()

        await again(target, once)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def silent(target: Target, start: bytes, connections: int) -> None:
    """Connections that begin a request and say no more."""
    held = []
    for _ in range(connections):
        if target.over:
            break
        with contextlib.suppress(OSError):
            reader, writer = await target.dial()
            writer.write(start)
            held.append((reader, writer))
    await asyncio.sleep(max(0.0, target.until - time.monotonic()))
    for _, writer in held:
        writer.close()


async def nothing(target: Target) -> None:
    """What the others see by themselves, on this machine, now."""


async def upgrade_without_connection(target: Target) -> None:
    await asking(target, head(QUERY + "websocket"), 8)


async def refused_bodies(target: Target) -> None:
    """A body that inflates to 50 MB, sent without a credential."""
    body = gzip.compress(bytes(50_000_000), 9)
    request = (
        b"POST /api/v1/events HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    await asking(target, request + body, 4)


async def connect_storm(target: Target) -> None:
    await flood(target, "2", "\n".join(('40{"token":"' + target.token + '"}', "41") * 4))


async def rubbish_tokens(target: Target) -> None:
    await flood(target, "2", '40{"token":"rubbish"}')


async def refused_events(target: Target) -> None:
    await flood(target, '40{"token":"' + target.token + '"}', '421["nobody:knows",{}]')


async def named_star(target: Target) -> None:
    await flood(target, '40{"token":"' + target.token + '"}', '421["*",{"a":1}]')


async def two_namespaces(target: Target) -> None:
    auth = '{"token":"' + target.token + '"}'
    await flood(target, "40" + auth, f'42["inbox:sync"]\n42/streaming,["x"]\n40/streaming,{auth}')


async def readiness_and_keys(target: Target) -> None:
    ready = b"GET /health/ready HTTP/1.1\r\nHost: hub\r\n\r\n"
    keys = (
        b"POST /api/v1/events HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer dk_nobody."
        + b"x" * 43
        + b"\r\nContent-Length: 0\r\n\r\n"
    )
    await asyncio.gather(asking(target, ready, 8), asking(target, keys, 8))


async def polled_events(target: Target) -> None:
    """16 kB of small events a POST, on sessions that never poll again."""

    async def once() -> None:
        reader, writer = await target.dial()
        try:
            writer.write(f"GET {QUERY}polling HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
            answer = (await reader.read(65536)).decode(errors="replace")
            sid = answer.partition('"sid":"')[2].partition('"')[0]
            if not sid:
                return
            bodies = ['40{"token":"' + target.token + '"}', "\x1e".join(['42["x"]'] * 2000)]
            for body in (bodies[0], *[bodies[1]] * 200):
                if target.over:
                    return
                writer.write(
                    f"POST {QUERY}polling&sid={sid} HTTP/1.1\r\nHost: hub\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                if b" 200 " not in await reader.read(65536):
                    return
        finally:
            writer.close()

    await again(target, once)


async def partial_heads(target: Target) -> None:
    await silent(target, b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h", 1000)


async def bodies_that_never_come(target: Target) -> None:
    start = b"POST /api/v1/events HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n"
    await silent(target, start, 500)


ATTACKS: Final[dict[str, tuple[str, Attack]]] = {
    "0": ("nobody", nothing),
    "1": ("an upgrade without Connection", upgrade_without_connection),
    "8": ("bodies of refused callers", refused_bodies),
    "24 connects": ("CONNECT and DISCONNECT without waiting", connect_storm),
    "24 tokens": ("rubbish tokens", rubbish_tokens),
    "24 events": ("events that are refused", refused_events),
    "24 queries": ("readiness and rubbish keys", readiness_and_keys),
    "25 polling": ("events by polling", polled_events),
    "25 sockets": ("events in two namespaces", two_namespaces),
    "26": ("an event named *", named_star),
    "27 heads": ("partial heads", partial_heads),
    "27 bodies": ("bodies that never come", bodies_that_never_come),
}
"""By the number of the kind."""


if __name__ == "__main__":
    name, url, token, seconds = sys.argv[1:]
    asyncio.run(ATTACKS[name][1](Target(url, token, float(seconds))))  # type: ignore[arg-type]
