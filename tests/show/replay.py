"""Reads as people send them, over many addresses, while sockets are open and a replica dies.

What is asked is a fixed list, the same in every run: of one hundred reads 40 are pages of lists, 30
single questions, 12 answers, 8 searches, 5 inboxes, 5 trending tags, regions and neighbourhoods;
what many ask for is asked for often, as by Zipf. The replica is a server of its own with the same
questions, ended in the middle as a power cut would, its clients cut off at once.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aiohttp
import asyncpg

from hub.embedded import Postgres
from hub.plumbing.stores.migrations import migrate
from protocol.tokens import TokenKeys, sign_access
from tests.conftest import SECRETS
from tests.loading import load
from tests.show import Verdict
from tests.show.stores import fresh_stores
from tests.stories.latency import percentile
from tests.stories.light import LightSocket
from tests.stories.processes import Door, doors

PREFIX: Final = "/api/v1"
PEOPLE: Final = 200
WITHIN_S, RATIO = 0.1, 0.90

LOAD: Final = """
INSERT INTO users (id, nickname) SELECT 'u' || n, 'u' || n FROM generate_series(1, 200) n;
INSERT INTO notification_preferences (user_id) SELECT id FROM users;
INSERT INTO questions (id, user_id, title, content, category, region_code, hashtags, urgency,
        created_at, updated_at)
    SELECT 'q' || n, 'u' || 1 + n % 200, (ARRAY['감귤 농장', '버스 시간', '문 연 약국'])[1 + n % 3],
        '어디가 좋을까요 ' || n, (ARRAY['food', 'road', 'health'])[1 + n % 3],
        (ARRAY['jeju', 'busan'])[1 + n % 20 / 19], ARRAY['tag' || n % 50], 'normal',
        now() - n * interval '1 minute', now() FROM generate_series(1, {questions}) n;
INSERT INTO answers (id, question_id, user_id, content, created_at, updated_at)
    SELECT 'a' || n, 'q' || 1 + n % {questions}, 'u' || 1 + n % 200, '여기요', now(), now()
    FROM generate_series(1, {questions}) n;
INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, seq)
    SELECT gen_random_uuid(), now() - n * interval '1 second', 'u' || 1 + n % 200,
        'answer_created', 'high', 't', 'b', n FROM generate_series(1, 10000) n;
INSERT INTO inbox_heads (user_id, seq, unread) SELECT id, 10000, 50 FROM users
"""


@dataclass(frozen=True, slots=True)
class Plan:
    reads: int = 36_000
    seconds: float = 360
    addresses: int = 200
    sockets: int = 1_000


SHORT: Final = Plan(reads=300, seconds=2, addresses=20, sockets=20)


@dataclass(frozen=True, slots=True)
class Read:
    path: str
    user: str = ""


def recorded(count: int) -> list[Read]:
    """The first so many of the list."""
    chance = random.Random(5)

    def often(most: int) -> int:
        """1 most of all, `most` the least."""
        return min(most, int(chance.paretovariate(0.9)))

    def one() -> Read:
        kind = chance.random()
        if kind < 0.40:
            asked = ("", "?sortBy=popularity", "?region=jeju", "?sortBy=urgent", "?category=food")
            more = (f"?page={often(20)}", f"?hashtags=tag{often(50)}", "?q=약국", "?region=busan")
            return Read(f"/questions{chance.choice(asked + more)}")
        if kind < 0.70:
            return Read(f"/questions/q{often(500)}")
        if kind < 0.82:
            return Read(f"/questions/q{often(500)}/answers")
        if kind < 0.90:
            return Read(f"/search?q={chance.choice(('약국', '버스', '감귤 농장', '시간', '문'))}")
        if kind < 0.95:
            user = f"u{chance.randint(1, PEOPLE)}"
            return Read(f"/notifications/{user}", user)
        return Read(chance.choice(("/trending", "/regions", "/neighbourhoods?region=jeju")))

    return [one() for _ in range(count)]


@dataclass(slots=True)
class Result:
    """`waits` in s; `failed`: status and path of each answer that was none."""

    waits: list[float]
    failed: list[str]
    ratio: float
    fallbacks: float
    sockets: int

    def __str__(self) -> str:
        return (
            f"{len(self.waits)} reads beside {self.sockets} sockets:"
            f" p50={percentile(self.waits, 0.5) * 1000:.1f}ms"
            f" p95={percentile(self.waits, 0.95) * 1000:.1f}ms, cache hit ratio {self.ratio:.3f},"
            f" {self.fallbacks:.0f} reads passed from the killed replica to the primary,"
            f" {len(self.failed)} errors {self.failed[:3] or ''}"
        )

    @property
    def passed(self) -> bool:
        quick = percentile(self.waits, 0.95) < WITHIN_S
        return not self.failed and self.ratio >= RATIO and quick and self.fallbacks > 0


async def replay(
    plan: Plan, api: Door, hub: Door, kill: Callable[[], Coroutine[Any, Any, None]]
) -> Result:
    """`kill` is called in the middle of the reads."""
    keys, now = TokenKeys((SECRETS["JWT_SECRET"],), "hub"), datetime.now(UTC)
    tokens = {
        user: sign_access(keys, user, "user", now=now, ttl_s=3600, jti=f"replay-{user}")
        for user in (f"u{number}" for number in range(1, PEOPLE + 1))
    }
    people = list(tokens.values())
    opened = [
        await LightSocket(hub.url, people[number % PEOPLE], b"nothing").connect()
        for number in range(plan.sockets)
    ]
    waits, failed = list[float](), list[str]()

    async def ask(number: int, read: Read) -> None:
        head = {"X-Forwarded-For": f"10.0.0.{number % plan.addresses}"}
        if read.user:
            head["Authorization"] = f"Bearer {tokens[read.user]}"
        start = monotonic()
        try:
            async with http.get(f"{api.url}{PREFIX}{read.path}", headers=head) as answer:
                await answer.read()
                if answer.status != 200:
                    failed.append(f"{answer.status} {read.path}")
        except aiohttp.ClientError as error:
            failed.append(f"{type(error).__name__} {read.path}")
        waits.append(monotonic() - start)

    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        start = monotonic()
        for number, read in enumerate(recorded(plan.reads)):
            if number == plan.reads // 2:
                group.create_task(kill())
            await asyncio.sleep(start + number * plan.seconds / plan.reads - monotonic())
            group.create_task(ask(number, read))
    for socket in opened:
        socket.close()
    told = await _metrics(api)
    reads = {
        name: _sum(told, f'cache_reads_total{{family="[a-z_]+",outcome="{name}"}}')
        for name in ("memory", "redis", "miss")
    }
    ratio = 1 - reads["miss"] / sum(reads.values())
    fallbacks = _sum(told, "replica_fallbacks_total")
    return Result(waits, failed, ratio, fallbacks, plan.sockets)


async def _metrics(door: Door) -> str:
    found = re.search(r"dongne metrics listens on (\S+)", door.output())
    assert found is not None
    async with aiohttp.ClientSession() as http, http.get(f"{found[1]}/metrics") as answer:
        return await answer.text()


def _sum(told: str, pattern: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", told, re.MULTILINE))


@asynccontextmanager
async def installation(
    database_url: str, replica_url: str, redis_url: str, folder: Path
) -> AsyncIterator[tuple[Door, Door]]:
    """api and hub with the settings of production, behind a proxy."""
    env = {
        "APP_ENV": "production",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "API_PORT": "0",
        "METRICS_PORT": "0",
        "TRUST_PROXY": "1",
        "DATABASE_URL": database_url,
        "DATABASE_REPLICA_URLS": replica_url,
        "DATABASE_SSL": "false",
        "REDIS_URL": redis_url,
        "CONN_MAX_IP": "2000",
        "ACCEPT_RATE": "2000",
        "SHUTDOWN_DRAIN_MS": "0",
        **SECRETS,
    }
    api, hub = (Door(name, env, folder / f"{name}.log") for name in ("api", "hub"))
    async with doors(api, hub):
        yield api, hub


async def fill(urls: Sequence[str], questions: int) -> None:
    """The same questions in each of the databases."""
    for url in urls:
        conn = await asyncpg.connect(url)
        await migrate(conn)
        await load(conn, LOAD.format(questions=questions))
        await conn.close()


async def reads_of_production() -> Verdict:
    async with AsyncExitStack() as exits:
        stores = await exits.enter_async_context(fresh_stores())
        server = Postgres(stores.folder / "replica", durable=False)
        exits.push_async_callback(server.stop)
        replica_url = await server.start()
        await fill([stores.database_url, replica_url], 5000)
        api, hub = await exits.enter_async_context(
            installation(stores.database_url, replica_url, stores.redis_url, stores.folder)
        )
        result = await replay(Plan(), api, hub, server.crash)
    return Verdict(result.passed, str(result))
