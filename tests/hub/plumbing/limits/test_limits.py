import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from hub.plumbing.limits.fleet import PAUSE_S, Bucket, Limits, Window
from hub.plumbing.limits.local import MAX_KEYS, LocalBuckets, LocalWindows
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import connect
from hub.plumbing.telemetry.metrics import LIMITS_ALONE, REGISTRY
from protocol.names import Keys
from tests.hub.plumbing.stores.redis_server import RedisServer

KEYS = Keys("test:")


def client_of(server: RedisServer) -> Redis:
    return connect(Settings.load({"REDIS_URL": server.url}, complete=False).redis)


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    one = RedisServer(tmp_path_factory.mktemp("limits"))
    await one.start()
    yield one
    await one.kill()


@pytest_asyncio.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    client = client_of(server)
    await client.flushall()
    await client.script_flush()
    yield client
    await client.aclose()


def window(limit: int, window_ms: int = 60_000) -> Window:
    return Window("default", limit, window_ms)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# The sliding window


async def test_the_limit_is_exact_over_two_nodes(server: RedisServer, redis: Redis) -> None:
    other = client_of(server)
    nodes = [Limits(redis.execute_command, KEYS), Limits(other.execute_command, KEYS)]
    verdicts = await asyncio.gather(
        *(node.check(window(100), "u1") for _ in range(200) for node in nodes)
    )
    await other.aclose()
    allowed = [verdict for verdict in verdicts if verdict.allowed]
    assert len(allowed) == 100
    assert sorted(verdict.remaining for verdict in allowed) == list(range(100))
    refused = [verdict for verdict in verdicts if not verdict.allowed]
    assert all(verdict.remaining == 0 for verdict in refused)
    assert all(59_000 < verdict.retry_after_ms <= 60_000 for verdict in refused)


async def test_keys_and_scopes_are_counted_apart(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    assert (await limits.check(window(1), "u1")).allowed
    assert (await limits.check(window(1), "u2")).allowed
    assert (await limits.check(Window("chat", 1, 60_000), "u1")).allowed
    assert not (await limits.check(window(1), "u1")).allowed
    assert sorted(await redis.keys("*")) == [
        b"test:rl:chat:u1",
        b"test:rl:default:u1",
        b"test:rl:default:u2",
    ]


async def test_each_of_a_round_gets_its_own_answer(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    verdicts = await asyncio.gather(
        *(limits.check(window(number), f"u{number}", number % 7) for number in range(1, 251))
    )
    assert [(one.allowed, one.limit, one.remaining) for one in verdicts] == [
        (True, number, number - number % 7) for number in range(1, 251)
    ]


async def test_a_list_counts_its_length_and_is_refused_whole(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    assert (await limits.check(window(10), "s", 7)).remaining == 3
    refused = await limits.check(window(10), "s", 4)
    assert (refused.allowed, refused.remaining) == (False, 3)
    assert (await limits.check(window(10), "s", 3)).remaining == 0


async def test_more_than_the_limit_at_once_is_never_allowed(redis: Redis) -> None:
    verdict = await Limits(redis.execute_command, KEYS).check(window(10, 5_000), "s", 11)
    assert (verdict.allowed, verdict.remaining, verdict.retry_after_ms) == (False, 10, 5_000)


async def test_waiting_for_what_the_answer_says_is_enough_and_needed(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    narrow = window(3, 1000)
    for _ in range(3):
        assert (await limits.check(narrow, "u")).allowed
    refused = await limits.check(narrow, "u")
    assert not refused.allowed
    assert 0 < refused.retry_after_ms <= 1000
    await asyncio.sleep(refused.retry_after_ms / 1000 / 2)
    assert not (await limits.check(narrow, "u")).allowed
    await asyncio.sleep(refused.retry_after_ms / 1000 / 2 + 0.002)
    assert (await limits.check(narrow, "u")).allowed


async def test_the_answer_names_when_enough_of_a_list_fits_again(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    wide = window(10, 3_000)
    await limits.check(wide, "s", 4)
    await asyncio.sleep(0.2)
    await limits.check(wide, "s", 4)
    one = (await limits.check(wide, "s", 5)).retry_after_ms
    both = (await limits.check(wide, "s", 8)).retry_after_ms
    assert both - one >= 150
    assert both <= 3_000


async def test_a_window_slides_and_leaves_no_key_behind(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    for _ in range(20):
        await limits.check(window(5, 50), "u")
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)
    assert await redis.exists(KEYS.rate("default", "u")) == 0


async def test_no_window_of_a_long_run_holds_more_than_the_limit(redis: Redis) -> None:
    """Against a model: the times of allowed calls, in any stretch of the window's length."""
    limits = Limits(redis.execute_command, KEYS)
    chance = random.Random(7)
    taken: deque[tuple[float, float, int]] = deque()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        n = chance.choice((1, 1, 2, 3))
        before = time.monotonic()
        verdict = await limits.check(window(10, 100), "run", n)
        after = time.monotonic()
        if verdict.allowed:
            taken.append((before, after, n))
        await asyncio.sleep(chance.random() * 0.01)
    assert len(taken) > 20
    for start, _, _ in taken:
        certainly_inside = [n for a, b, n in taken if a >= start and b < start + 0.1 - 0.002]
        assert sum(certainly_inside) <= 10
    assert sum(n for _, _, n in taken) >= 10 * 3  # the limit is used, not undercut


async def test_checks_of_one_round_are_one_call(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    await limits.check(window(1000), "warm")
    await redis.config_resetstat()
    await asyncio.gather(*(limits.check(window(1000), f"u{i}") for i in range(100)))
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 1


async def test_a_refused_call_is_counted_as_a_metric(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    before = counted("rate_limited_total", scope="counted")
    for _ in range(3):
        await limits.check(Window("counted", 1, 60_000), "u")
    assert counted("rate_limited_total", scope="counted") - before == 2


async def test_the_script_is_loaded_again_when_redis_forgot_it(redis: Redis) -> None:
    LIMITS_ALONE.set(0)  # one gauge a process: an outage of another test may have left it up
    limits = Limits(redis.execute_command, KEYS)
    assert (await limits.check(window(2), "u")).remaining == 1
    await redis.script_flush()
    assert (await limits.check(window(2), "u")).remaining == 0
    assert counted("limits_alone") == 0


async def test_a_caller_that_gives_up_spoils_nothing_for_the_others(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    first = asyncio.create_task(limits.check(window(5), "u"))
    second = asyncio.create_task(limits.check(window(5), "u"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).allowed
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_nothing_is_asked_after_the_close(server: RedisServer) -> None:
    """A caller who has gone leaves a call behind that would dial after the client was closed."""
    redis = client_of(server)
    limits = Limits(redis.execute_command, KEYS)
    asks = asyncio.create_task(limits.check(window(1), "u"))
    while not named("scripts"):
        await asyncio.sleep(0)
    asks.cancel()
    assert named("scripts")
    await limits.close()
    assert not named("scripts")
    await redis.aclose()


def named(name: str) -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == name]


# Redis away


async def test_a_close_ends_the_question_whether_redis_is_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    redis = client_of(server)
    limits = Limits(redis.execute_command, KEYS)
    try:
        await server.kill()
        await limits.check(window(1), "u")
        assert named("limits return")
        await limits.close()
        assert not named("limits return")
    finally:
        LIMITS_ALONE.set(0)
        await redis.aclose()
        await server.kill()


async def test_each_process_counts_alone_while_redis_is_away_and_shares_again(
    tmp_path: Path,
) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    redis = client_of(server)
    limits = Limits(redis.execute_command, KEYS)
    try:
        assert (await limits.check(window(2), "u")).remaining == 1
        await server.kill()
        verdicts = [await limits.check(window(2), "u") for _ in range(3)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, False]
        assert verdicts[2].retry_after_ms > 0
        assert counted("limits_alone") == 1
        start = time.perf_counter()
        for i in range(1000):
            await limits.check(window(2), f"u{i}")
        assert time.perf_counter() - start < PAUSE_S, "an outage costs one wait, not one a check"
        await server.start()
        async with asyncio.timeout(10):
            while counted("limits_alone"):
                await limits.check(window(1000), "poll")
                await asyncio.sleep(0.05)
        assert (await limits.check(window(2), "u")).remaining == 1
    finally:
        LIMITS_ALONE.set(0)
        await redis.aclose()
        await server.kill()


# The token bucket


def bucket(capacity: int = 4, refill_per_s: float = 10.0, reserve: int = 2) -> Bucket:
    return Bucket(f"q{uuid4().hex}", capacity, refill_per_s, reserve)


async def test_the_last_tokens_are_for_urgent_work(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    slow = bucket(refill_per_s=0.1)
    assert [await limits.take(slow) for _ in range(2)] == [0, 0]
    assert 9_000 < await limits.take(slow) <= 10_000
    assert [await limits.take(slow, urgent=True) for _ in range(2)] == [0, 0]
    assert 9_000 < await limits.take(slow, urgent=True) <= 10_000
    assert 29_000 < await limits.take(slow) <= 30_000


async def test_waiting_as_told_gets_the_token(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    quick = bucket(refill_per_s=20)
    while not (wait_ms := await limits.take(quick, urgent=True)):
        pass
    assert wait_ms <= 50
    await asyncio.sleep(wait_ms / 1000 + 0.002)
    assert await limits.take(quick, urgent=True) == 0


async def test_a_bucket_is_shared_by_all_workers(server: RedisServer, redis: Redis) -> None:
    other = client_of(server)
    workers = [Limits(redis.execute_command, KEYS), Limits(other.execute_command, KEYS)]
    shared = Bucket("shared", 40, 0.001, 0)
    waits = await asyncio.gather(*(one.take(shared) for one in workers for _ in range(40)))
    await other.aclose()
    assert waits.count(0) == 40


async def test_more_than_the_bucket_can_hold_is_an_error(redis: Redis) -> None:
    limits = Limits(redis.execute_command, KEYS)
    with pytest.raises(ValueError, match="never"):
        await limits.take(bucket(), n=3)
    assert await limits.take(bucket(), n=4, urgent=True) == 0


def test_a_rate_a_minute_is_never_exceeded_in_any_minute() -> None:
    notification = Bucket.a_minute("notification", 1000, 0.5)
    assert (notification.capacity, notification.refill_per_s, notification.reserve) == (
        400,
        10,
        200,
    )
    email = Bucket.a_minute("email", 100, 0.25)
    assert (email.capacity, email.refill_per_s, email.reserve) == (40, 1, 10)
    for one in (notification, email):
        rate = {"notification": 1000, "email": 100}[one.queue]
        assert one.capacity + 60 * one.refill_per_s <= rate


# One table of cases on the script and on its local twin


WINDOW_STEPS = [  # pause before, weight, allowed, remaining
    (0.0, 3, True, 2),
    (1.0, 2, True, 0),
    (0.0, 1, False, 0),
    (1.5, 3, True, 0),
    (0.0, 6, False, 0),
]


async def test_window_script_and_local_window_judge_alike(redis: Redis) -> None:
    limits, local, now = Limits(redis.execute_command, KEYS), LocalWindows(), 1000.0
    for pause, weight, allowed, remaining in WINDOW_STEPS:
        await asyncio.sleep(pause)
        now += pause
        verdict = await limits.check(window(5, 2000), "twin", weight)
        assert (verdict.allowed, verdict.remaining) == (allowed, remaining)
        assert local.check("twin", 5, 2.0, weight, now)[:2] == (allowed, remaining)


async def test_bucket_script_and_local_bucket_judge_alike(redis: Redis) -> None:
    limits, local = Limits(redis.execute_command, KEYS), LocalBuckets()
    one = Bucket("twin", 3, 0.5, 1)
    for urgent, expected in ((False, 0), (False, 0), (False, 2000), (True, 0), (True, 2000)):
        wait = await limits.take(one, urgent=urgent)
        alone = local.take("twin", 3, 0.5, 0 if urgent else 1, 1, 1000.0)
        assert alone == expected
        assert expected - 900 <= wait <= expected


def test_the_local_window_forgets_the_caller_counted_longest_ago() -> None:
    local = LocalWindows()
    for i in range(MAX_KEYS + 1):
        local.check(f"u{i}", 1, 60, 1, 0.0)
    assert local.check("u0", 1, 60, 1, 0.0)[0], "forgotten"
    assert not local.check(f"u{MAX_KEYS}", 1, 60, 1, 0.0)[0]
