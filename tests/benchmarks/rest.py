"""REST as it is shipped, beside the least that could answer the same: CPU and requests a second.

    python -m tests.benchmarks.rest [--reps N] [--seconds S]

`GET /questions`, cached, beside aiohttp alone answering the same bytes; `GET /notifications/{id}`
beside its query in asyncpg. Each is one process on processor 0, whoever asks is on another; both
are asked in turns. The api's settings are those of production. Requests come from 5,000 forwarded
addresses, since the list's own limit is 100 a minute for each.
"""

import argparse
import asyncio
import os
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import uvloop
from aiohttp import web

from hub.domain.notifications import inbox
from protocol.tokens import TokenKeys, sign_access
from tests.conftest import SECRETS
from tests.loading import load
from tests.show.stores import Stores, fresh_stores
from tests.stories.processes import Door, doors

PREFIX: Final = "/api/v1"
ADDRESSES, CONNECTIONS, PEOPLE = 5_000, 32, 200
READERS: Final = 20
"""As many connections to PostgreSQL as the api has at most."""
LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
PRODUCTION: Final = {
    "APP_ENV": "production",
    "HOST": "127.0.0.1",
    "API_PORT": "0",
    "METRICS_PORT": "0",
    "TRUST_PROXY": "1",
    "DATABASE_SSL": "false",
    "CONN_MAX_IP": "1000",
    "SHUTDOWN_DRAIN_MS": "0",
    "RATE_LIMIT_USER_MAX": "1000000",
    **SECRETS,
}
LOAD: Final = """
INSERT INTO users (id, nickname) SELECT 'u' || n, 'u' || n FROM generate_series(1, 200) n;
INSERT INTO questions (id, user_id, title, content, region_code, hashtags, urgency, created_at,
        updated_at)
    SELECT 'q' || n, 'u' || 1 + n % 200, '문 연 약국이 있나요 ' || n, '연동에서 찾고 있어요 ' || n,
        'jeju', ARRAY['약국', 'tag' || n % 20], 'normal', now() - n * interval '1 minute', now()
    FROM generate_series(1, 1000) n;
INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, seq)
    SELECT gen_random_uuid(), now() - n * interval '1 second', 'u' || 1 + n % 200, 'answer_created',
        'high', '새 답변이 있어요', '연동 약국은 열 시까지 열어요', n
    FROM generate_series(1, 10000) n;
INSERT INTO inbox_heads (user_id, seq, unread) SELECT id, 10000, 50 FROM users
"""


@dataclass
class Measured:
    """Of one server, a figure a turn: requests a second, and microseconds of its CPU a request."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_us)


class _Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, requests: Sequence[bytes], start: int) -> None:
        self._requests, self._next = requests, start
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.answered = 0
        self.refused: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head) if blank else None
        if length is None or len(body) < int(length[1]):
            return
        self._buffer = b""
        self.answered += 1
        if not head.startswith(b"HTTP/1.1 200 "):
            self.refused.append(head)
        self._ask()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def ask(url: str, pid: int, requests: Sequence[bytes], seconds: float, to: Measured) -> None:
    """One turn of a server. Raises AssertionError for an answer that is not 200."""
    loop, port = asyncio.get_running_loop(), urlsplit(url).port
    assert port is not None
    step = len(requests) // CONNECTIONS
    askers = [_Asker(requests, number * step) for number in range(CONNECTIONS)]
    for asker in askers:
        await loop.create_connection(lambda one=asker: one, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(0.3)  # what is first asked fills caches
    before, start, spent = sum(one.answered for one in askers), loop.time(), cpu_s(pid)
    await asyncio.sleep(seconds)
    count, took = sum(one.answered for one in askers) - before, loop.time() - start
    to.cpu_us.append((cpu_s(pid) - spent) / count * 1e6)
    to.rates.append(count / took)
    for asker in askers:
        asker.close()
    refused = [head for asker in askers for head in asker.refused]
    assert not refused, refused[0]


def cpu_s(pid: int) -> float:
    """Seconds of processor that all threads of a process had."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


def requests_of(paths: Sequence[str], tokens: Sequence[str] = ()) -> list[bytes]:
    """A request for each forwarded address, in turns of the paths."""
    found = []
    for number in range(ADDRESSES):
        head = f"GET {PREFIX}{paths[number % len(paths)]} HTTP/1.1\r\nHost: api.example\r\n"
        head += f"X-Forwarded-For: 10.{number >> 8}.{number & 255}.1\r\nAccept-Encoding: gzip\r\n"
        if tokens:
            head += f"Authorization: Bearer {tokens[number % len(tokens)]}\r\n"
        found.append(f"{head}User-Agent: bench\r\n\r\n".encode())
    return found


# what is measured beside the api


def answer_same(answer: Path) -> None:
    """A process: aiohttp alone, answering these bytes, the head's lines included."""
    head, _, body = answer.read_bytes().partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")]
    headers = {name: value for name, _, value in lines if name.lower() != "content-length"}

    async def same(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    async def serve() -> None:
        app = web.Application()
        app.router.add_get(f"{PREFIX}/questions", same)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        print(f"dongne bare ready on http://127.0.0.1:{port}", flush=True)
        await asyncio.Event().wait()

    uvloop.run(serve())


def only_ask(database_url: str, seconds: float) -> None:
    """A process: nothing but the query of an inbox, as often as it can be asked."""

    async def run() -> tuple[int, float, float]:
        pool = await asyncpg.create_pool(database_url, min_size=READERS, max_size=READERS)
        ends, done = time.perf_counter() + seconds, 0

        async def reader(number: int) -> None:
            nonlocal done
            while time.perf_counter() < ends:
                number = (number + 1) % PEOPLE
                who, now = f"u{number + 1}", datetime.now(UTC)
                await pool.fetch(inbox.PAGE, who, None, None, False, None, 20, now)
                done += 1

        start, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(reader(10 * number) for number in range(READERS)))
        return done, time.perf_counter() - start, time.process_time() - spent

    print("dongne query ready on postgres", flush=True)
    done, took, cpu = uvloop.run(run())
    print(f"asked {done} {took} {cpu}", flush=True)


# the two measurements


@asynccontextmanager
async def api(stores: Stores) -> AsyncIterator[Door]:
    """`dongne api` with something to answer."""
    conn = await asyncpg.connect(stores.database_url)
    await load(conn, LOAD)
    await conn.close()
    env = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url, **PRODUCTION}
    door = Door("api", env, stores.folder / "api.log")
    async with doors(door):
        os.sched_setaffinity(door.pid, {0})
        yield door


async def cached_list(reps: int, seconds: float) -> tuple[Measured, Measured]:
    """The api, and aiohttp alone."""
    ours, bare = Measured(), Measured()
    requests = requests_of(["/questions"])
    async with fresh_stores() as stores, api(stores) as door:
        answer = stores.folder / "answer"
        answer.write_bytes(await _answer(f"{door.url}{PREFIX}/questions"))
        other = Door("bare", {}, stores.folder / "bare.log", work=partial(answer_same, answer))
        async with doors(other):
            os.sched_setaffinity(other.pid, {0})
            for _ in range(reps):
                await ask(door.url, door.pid, requests, seconds, ours)
                await ask(other.url, other.pid, requests, seconds, bare)
    return ours, bare


async def _answer(url: str) -> bytes:
    """Head without its status line, blank line, body, as they come for gzip."""
    told = {"Accept-Encoding": "gzip", "X-Forwarded-For": "10.255.255.1"}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers=told) as answer,
    ):
        assert answer.status == 200
        head = "\r\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        return head.encode() + b"\r\n\r\n" + await answer.read()


async def inbox_page(reps: int, seconds: float) -> tuple[Measured, Measured]:
    """The api, and the query alone."""
    ours, bare = Measured(), Measured()
    keys, now = TokenKeys((SECRETS["JWT_SECRET"],), "hub"), datetime.now(UTC)
    people = [f"u{number + 1}" for number in range(PEOPLE)]
    tokens = [
        sign_access(keys, one, "user", now=now, ttl_s=3600, jti=f"bench-{one}") for one in people
    ]
    requests = requests_of([f"/notifications/{one}" for one in people], tokens)
    async with fresh_stores() as stores, api(stores) as door:
        for number in range(reps):
            await ask(door.url, door.pid, requests, seconds, ours)
            log = stores.folder / f"query-{number}.log"
            alone = Door("query", {}, log, work=partial(only_ask, stores.database_url, seconds))
            await alone.start()
            os.sched_setaffinity(alone.pid, {0})
            await alone.wait(seconds + 20)
            done, took, cpu = alone.output().split("asked ")[1].split()
            bare.rates.append(int(done) / float(took))
            bare.cpu_us.append(float(cpu) / int(done) * 1e6)
    return ours, bare


async def main(reps: int, seconds: float) -> None:
    for title, measure, beside in (
        ("GET /questions, cached", cached_list, "aiohttp alone"),
        ("GET /notifications/{id}", inbox_page, "its query in asyncpg"),
    ):
        ours, bare = await measure(reps, seconds)
        print(
            f"{title}: {ours.rate:,.0f}/s, {ours.cpu:.0f} us of CPU; {beside}: {bare.rate:,.0f}/s,"
            f" {bare.cpu:.0f} us; {ours.rate / bare.rate:.2f} of its rate",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    asyncio.run(main(given.reps, given.seconds))
