"""Breakers, seats, turns: who waits for what, and in which order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from hub.plumbing.limits.fleet import Bucket, Limits
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.names import Keys
from workers.channels.breaker import Breaker
from workers.channels.outcome import About, Blocked, Outcome, Permanent, Sent, Temporary
from workers.seats import Seats
from workers.turns import Turns


def answers(outcome: Outcome) -> Callable[[], Awaitable[Outcome]]:
    async def send() -> Outcome:
        return outcome

    return send


def state(provider: str) -> float | None:
    return REGISTRY.get_sample_value("breaker_state", {"provider": provider})


async def never() -> Outcome:
    raise AssertionError("an open breaker asks nobody")


def answers_never() -> Callable[[], Awaitable[Outcome]]:
    async def send() -> Outcome:
        await asyncio.Event().wait()
        return Sent("never")

    return send


FAILS = answers(Temporary("http_503"))
WORKS = answers(Sent("1"))


async def test_it_opens_after_errors_in_a_row_only() -> None:
    breaker = Breaker("rows", 3, 30)
    for outcome in (FAILS, FAILS, WORKS, FAILS, FAILS):
        await breaker.call(outcome)
    assert breaker.blocked_s() == 0
    assert state("rows") == 0
    await breaker.call(FAILS)
    assert 29 < breaker.blocked_s() <= 30.1
    assert state("rows") == 2
    blocked = await breaker.call(never)
    assert isinstance(blocked, Blocked)
    assert 29 < blocked.seconds <= 30.1


@pytest.mark.fault(13)
async def test_calls_that_were_under_way_together_have_one_cause(
    record_property: Callable[[str, object], None],
) -> None:
    breaker = Breaker("together", 3, 30)
    for _ in range(2):
        down = asyncio.Event()

        async def cut(down: asyncio.Event = down) -> Outcome:
            await down.wait()
            return Temporary("421 4.3.2")

        calls = [asyncio.create_task(breaker.call(cut)) for _ in range(10)]
        await asyncio.sleep(0)
        down.set()
        await asyncio.gather(*calls)
    assert breaker.blocked_s() == 0
    await breaker.call(FAILS)
    assert breaker.blocked_s() > 0
    record_property("seen", "twice ten calls cut at once count two")


@pytest.mark.fault(13)
async def test_a_call_of_before_neither_opens_nor_closes_it_again() -> None:
    breaker = Breaker("before", 1, 0.05)
    late = {"fails": asyncio.Event(), "works": asyncio.Event()}

    def answer(kind: str, outcome: Outcome) -> Callable[[], Awaitable[Outcome]]:
        async def send() -> Outcome:
            await late[kind].wait()
            return outcome

        return send

    failing = asyncio.create_task(breaker.call(answer("fails", Temporary("timeout"))))
    working = asyncio.create_task(breaker.call(answer("works", Sent("1"))))
    await asyncio.sleep(0)
    await breaker.call(FAILS)
    await asyncio.sleep(0.06)

    async def tried() -> Outcome:
        late["works"].set()
        await working
        assert state("before") == 1
        return Sent("2")

    await breaker.call(tried)
    late["fails"].set()
    await failing
    assert breaker.blocked_s() == 0


@pytest.mark.fault(13)
async def test_what_was_never_asked_closes_nothing() -> None:
    breaker = Breaker("unasked", 1, 0.05)
    await breaker.call(FAILS)
    await asyncio.sleep(0.06)
    await breaker.call(answers(Permanent("bad_address")))
    assert state("unasked") == 2
    await breaker.call(WORKS)
    assert state("unasked") == 0


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    "outcome",
    [
        Permanent("UNREGISTERED", token_dead=True),
        Temporary("QUOTA_EXCEEDED", 60.0, About.RECIPIENT),
        Temporary("450 4.2.1", about=About.RECIPIENT),
        Temporary("550 5.7.1", about=About.US),
        Temporary("credentials_refused", about=About.US),
    ],
)
async def test_what_is_said_about_one_address_does_not_count(outcome: Outcome) -> None:
    breaker = Breaker("address", 1, 30)
    await breaker.call(answers(outcome))
    assert breaker.blocked_s() == 0


async def test_half_open_one_call_tries_and_closes_it() -> None:
    breaker = Breaker("half", 1, 0.05)
    await breaker.call(FAILS)
    await asyncio.sleep(0.06)

    async def tried() -> Outcome:
        assert breaker.blocked_s() > 0
        assert isinstance(await breaker.call(never), Blocked)
        return Sent("1")

    await breaker.call(tried)
    assert breaker.blocked_s() == 0
    assert state("half") == 0


async def test_half_open_a_failure_opens_it_again() -> None:
    breaker = Breaker("again", 5, 0.05)
    for _ in range(5):
        await breaker.call(FAILS)
    await asyncio.sleep(0.06)
    await breaker.call(FAILS)
    assert breaker.blocked_s() > 0
    assert state("again") == 2


async def test_half_open_a_call_that_is_cut_off_leaves_the_try_to_the_next() -> None:
    breaker = Breaker("cut", 1, 0.05)
    await breaker.call(FAILS)
    await asyncio.sleep(0.06)
    hangs = asyncio.create_task(breaker.call(answers_never()))
    await asyncio.sleep(0)
    assert state("cut") == 1
    hangs.cancel()
    await asyncio.gather(hangs, return_exceptions=True)
    assert state("cut") == 2
    await breaker.call(WORKS)
    assert state("cut") == 0


async def test_seats_go_to_the_most_urgent_then_by_arrival() -> None:
    seats, order = Seats(1), []

    async def sit(name: str, priority: int) -> None:
        await seats.take(priority)
        order.append(name)
        seats.leave()

    await seats.take(0)
    waiting = []
    for name, priority in [("a", 0), ("b", 0), ("urgent", 10), ("c", 0)]:
        waiting.append(asyncio.create_task(sit(name, priority)))
        await asyncio.sleep(0)
    waiting[0].cancel()
    seats.leave()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["urgent", "b", "c"]
    await asyncio.wait_for(seats.take(0), 1)


async def test_a_seat_handed_to_who_is_cancelled_at_that_moment_is_not_lost() -> None:
    seats = Seats(1)
    await seats.take(0)
    waiting = asyncio.create_task(seats.take(0))
    await asyncio.sleep(0)
    seats.leave()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(seats.take(0), 1)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def limits(redis: Redis) -> Limits:
    return Limits(redis.execute_command, Keys())


def nobody_is_blocked() -> float:
    return 0.0


async def test_the_last_tokens_are_for_the_urgent(limits: Limits) -> None:
    bucket = Bucket("notification", 4, 0.5, 2)
    normal = Turns(nobody_is_blocked, limits, bucket, reserved=False)
    urgent = Turns(nobody_is_blocked, limits, bucket, reserved=True)
    for _ in range(2):
        await asyncio.wait_for(normal.take(0), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(normal.take(0), 0.2)
    for _ in range(2):
        await asyncio.wait_for(urgent.take(10), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(urgent.take(10), 0.2)


async def test_a_token_given_back_is_there_for_the_next(limits: Limits) -> None:
    turns = Turns(nobody_is_blocked, limits, Bucket("notification", 2, 0.01, 0), reserved=True)
    for _ in range(2):
        await asyncio.wait_for(turns.take(0), 1)
    await turns.give_back()
    await asyncio.wait_for(turns.take(0), 1)
    for _ in range(5):
        await turns.give_back()
    for _ in range(2):
        await asyncio.wait_for(turns.take(0), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(turns.take(0), 0.2)


async def test_whoever_waits_for_a_token_gets_the_one_given_back(redis: Redis) -> None:
    refused = asyncio.Event()

    class Heard(Limits):
        async def take(self, bucket: Bucket, *, urgent: bool = False, n: int = 1) -> int:
            wait_ms = await super().take(bucket, urgent=urgent, n=n)
            if wait_ms:
                refused.set()
            return wait_ms

    bucket = Bucket("notification", 1, 0.001, 0)
    turns = Turns(nobody_is_blocked, Heard(redis.execute_command, Keys()), bucket, reserved=True)
    assert await turns.take(0)
    waiting = asyncio.create_task(turns.take(0))
    await asyncio.wait_for(refused.wait(), 1)
    await turns.give_back()
    assert await asyncio.wait_for(waiting, 1)


async def test_a_rate_holds_over_two_workers(redis: Redis) -> None:
    bucket = Bucket("email", 3, 0.5, 0)
    workers = [
        Turns(nobody_is_blocked, Limits(redis.execute_command, Keys()), bucket, reserved=True)
        for _ in range(2)
    ]
    waiting = [asyncio.create_task(turns.take(0)) for turns in workers for _ in range(3)]
    done, pending = await asyncio.wait(waiting, timeout=0.5)
    assert len(done) == 3
    for task in pending:
        task.cancel()


async def test_who_has_no_patience_goes_on_without_a_token(limits: Limits) -> None:
    breaker = Breaker("patience", 1, 0.3)
    bucket = Bucket("notification", 1, 0.01, 0)
    turns = Turns(breaker.blocked_s, limits, bucket, reserved=True)
    await breaker.call(FAILS)
    assert not await turns.take(10, patience_s=0.1)
    assert breaker.blocked_s() > 0
    await asyncio.wait_for(turns.take(10, patience_s=5), 2)
    assert breaker.blocked_s() == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(turns.take(10), 0.2)
