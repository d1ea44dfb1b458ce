"""The cache: two tiers, one read at a time, told by all processes, missed by nobody."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
from redis.asyncio import Redis

from hub.plumbing.stores.cache import Cache, Family
from hub.plumbing.telemetry.metrics import REGISTRY

ONE = Family("question", 60)
LIST = Family("questions", 60, "cache:questions")
GONE = "redis://127.0.0.1:1"


class Value(msgspec.Struct):
    n: int


@dataclass
class Table:
    """What the cache stands before; `lagged` are the answers it was given leave to."""

    n: int = 0
    lagged: list[bool] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def load(self, may_lag: bool) -> Value:
        self.lagged.append(may_lag)
        read = self.n
        self.begun.set()
        await self.gate.wait()
        return Value(read)


@asynccontextmanager
async def process(url: str, **options: float) -> AsyncIterator[Cache]:
    """A process's cache that hears the others, where there is a Redis."""
    async with Redis.from_url(url) as redis:
        cache = Cache(redis, "p:", **options)  # type: ignore[arg-type]
        listening = asyncio.create_task(cache.listen())
        if url != GONE:
            await asyncio.wait_for(cache.heard.wait(), 5)
        yield cache
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await cache.close()


async def read(cache: Cache, table: Table, family: Family = ONE, rest: str = "1") -> int:
    return (await cache.read(family, rest, Value, table.load)).n


def reads(outcome: str) -> float:
    labels = {"family": "question", "outcome": outcome}
    return REGISTRY.get_sample_value("cache_reads_total", labels) or 0.0


async def test_a_read_is_found_in_memory_then_in_redis(redis_url: str) -> None:
    table = Table(7)
    before = {outcome: reads(outcome) for outcome in ("memory", "redis", "miss")}
    async with process(redis_url) as one, process(redis_url) as other:
        assert [await read(one, table) for _ in range(3)] == [7, 7, 7]
        assert [await read(other, table) for _ in range(2)] == [7, 7]
    assert table.lagged == [True]
    told = {outcome: reads(outcome) - before[outcome] for outcome in before}
    assert told == {"memory": 3, "redis": 1, "miss": 1}
    async with Redis.from_url(redis_url) as redis:
        assert 0 < await redis.pttl("p:question:1") <= 60_000


async def test_memory_forgets_after_its_own_time(redis_url: str) -> None:
    table = Table(1)
    async with process(redis_url, memory_ttl_s=1e-9) as one:
        await read(one, table)
        before = reads("memory")
        await read(one, table)
        assert reads("memory") == before


async def test_many_who_ask_at_once_read_once(redis_url: str) -> None:
    table = Table(1)
    table.gate.clear()
    async with process(redis_url) as one:
        asked = [asyncio.create_task(read(one, table)) for _ in range(50)]
        await table.begun.wait()
        asked[0].cancel()  # who leaves takes nothing from the others
        table.gate.set()
        answers = await asyncio.gather(*asked[1:])
    assert (answers, len(table.lagged)) == ([1] * 49, 1)


async def test_what_is_written_is_seen_by_all_and_from_the_primary(redis_url: str) -> None:
    table = Table(1)
    async with process(redis_url) as one, process(redis_url) as other:
        assert [await read(one, table), await read(other, table)] == [1, 1]
        bell = other.bell("question:1")
        bell.clear()
        table.n = 2
        await one.invalidate(["question:1"])
        assert await read(one, table) == 2, "who has written sees it at once"
        await asyncio.wait_for(bell.wait(), 5)
        assert await read(other, table) == 2
    assert table.lagged == [True, False, False]


async def test_a_list_goes_with_its_group(redis_url: str) -> None:
    table = Table(1)
    async with process(redis_url) as one, process(redis_url) as other:
        for cache in (one, other):
            for rest in ("a", "b"):
                assert await read(cache, table, LIST, rest) == 1
        bell = other.bell("cache:questions")
        bell.clear()
        table.n = 2
        await one.invalidate(["cache:questions"])
        await asyncio.wait_for(bell.wait(), 5)
        for cache in (one, other):
            for rest in ("a", "b"):
                assert await read(cache, table, LIST, rest) == 2
    assert table.lagged == [True, True, False, False]


@pytest.mark.parametrize("family", [ONE, LIST])
async def test_what_was_read_before_a_write_is_not_kept(redis_url: str, family: Family) -> None:
    """The reader began before the commit and ends after it: here, and in another process."""
    table = Table(1)
    async with process(redis_url) as one, process(redis_url) as other:
        table.gate.clear()
        slow = [asyncio.create_task(read(cache, table, family)) for cache in (one, other)]
        while len(table.lagged) < 2:
            await asyncio.sleep(0)
        table.n = 2
        await one.invalidate([family.group or "question:1"])
        late = asyncio.create_task(read(one, table, family))
        while len(table.lagged) < 3:
            await asyncio.sleep(0)
        table.gate.set()
        assert await asyncio.gather(*slow) == [1, 1]
        assert await late == 2
        assert await read(one, table, family) == 2
    async with process(redis_url) as third:
        assert await read(third, table, family) == 2


async def test_it_is_made_anew_before_its_time_is_over(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, now = Table(1), time.time()
    async with process(redis_url, memory_ttl_s=1000) as one:
        await read(one, table)
        monkeypatch.setattr(time, "time", lambda: now + 0.7 * 60)
        await read(one, table)
        assert len(table.lagged) == 1
        table.n = 2
        monkeypatch.setattr(time, "time", lambda: now + 0.9 * 60)
        table.begun.clear()
        assert await read(one, table) == 1, "nobody waits"
        await asyncio.wait_for(table.begun.wait(), 5)
        await asyncio.gather(*(flight.task for flight in one._flights.values() if flight.task))
        assert await read(one, table) == 2
        assert len(table.lagged) == 2


async def test_an_error_is_nobodys_value(redis_url: str) -> None:
    async def fail(_: bool) -> Value:
        raise LookupError

    async with process(redis_url) as one:
        for _ in range(2):
            with pytest.raises(LookupError):
                await one.read(ONE, "1", Value, fail)
        assert await read(one, Table(3)) == 3


async def test_memory_is_bounded(redis_url: str) -> None:
    table = Table(1)
    async with process(redis_url, memory_bytes=5000) as one:
        for n in range(50):
            await read(one, table, rest=str(n))
        assert len(one._memory) < 10
        assert one._bytes <= 5000
        before = reads("memory")
        await read(one, table, rest="49")
        assert reads("memory") == before + 1, "the newest stay"


async def test_a_dead_redis_fails_no_read_and_keeps_nothing() -> None:
    table = Table(1)
    async with process(GONE) as one:
        assert await read(one, table) == 1
        table.n = 2
        await one.invalidate(["question:1"])
        assert await read(one, table) == 2, "what nobody can invalidate is not kept"
    assert table.lagged == [False, False]


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"junk", msgspec.msgpack.encode([1.0, b"", b"x"])])
async def test_what_another_version_left_is_read_anew(redis_url: str, junk: bytes) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.set("p:question:1", junk)
        async with process(redis_url) as one:
            await redis.publish("p:cache:invalidate", junk)
            assert await read(one, Table(4)) == 4
