"""What a claim takes: the most urgent that is due, of each lane as much as it has room for."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from hub.domain.context import Domain
from hub.plumbing.stores.outbox import enqueue
from hub.plumbing.stores.postgres import acquire
from protocol.jobs import Job, delivery_job, unseen_check, wave_job
from workers.queue import JobQueries

ID = "7b0c1c7e-4a5a-4d52-9d3c-0a8f6f3f8a01"


@pytest.fixture
async def queries(domain: Domain) -> AsyncIterator[JobQueries]:
    async with acquire(domain.pool) as conn:
        yield JobQueries(AsyncpgDriver(conn))  # type: ignore[arg-type]


async def put(d: Domain, *jobs: Job) -> None:
    """Each in a transaction of its own, so that they are due one after the other."""
    for job in jobs:
        async with d.pool.acquire() as conn, conn.transaction():
            await enqueue(conn, [job])


def mail(d: Domain, *, bulk: bool) -> Job:
    return delivery_job("email", ID, d.now(), urgent=False, bulk=bulk)


def check(d: Domain, *, urgent: bool, delay_s: float = 0.0) -> Job:
    return unseen_check(ID, d.now(), delay_s=delay_s, urgent=urgent)


async def claim(queries: JobQueries, lanes: dict[str, tuple[int, int]]) -> list[tuple[str, int]]:
    """(entry point, priority) of what is claimed; `lanes`: number and room by entry point."""
    numbers, room = zip(*lanes.values(), strict=True)
    jobs = await queries.claim(list(lanes), numbers, room, uuid4(), heartbeat_s=10)
    return [(job.entrypoint, job.priority) for job in jobs]


async def test_the_most_urgent_goes_first_and_bulk_last(
    domain: Domain, queries: JobQueries
) -> None:
    await put(domain, mail(domain, bulk=True), mail(domain, bulk=False))
    await put(domain, check(domain, urgent=False), check(domain, urgent=True))
    one_lane = {"email": (0, 2), "email:bulk": (0, 2), "unseen-check": (0, 2)}
    assert await claim(queries, one_lane) == [("unseen-check", 10), ("email", 0)]
    assert await claim(queries, one_lane) == [("unseen-check", 0), ("email:bulk", -10)]
    assert await claim(queries, one_lane) == []


async def test_a_wave_goes_before_the_many_steps_of_those_it_has_told(
    domain: Domain, queries: JobQueries
) -> None:
    await put(domain, *(check(domain, urgent=True) for _ in range(3)), wave_job(ID, 2))
    lane = {"unseen-check": (0, 1), "urgent-wave": (0, 1)}
    assert await claim(queries, lane) == [("urgent-wave", 20)]


async def test_a_lane_without_room_holds_up_no_other(domain: Domain, queries: JobQueries) -> None:
    await put(domain, *(mail(domain, bulk=False) for _ in range(3)))
    await put(domain, *(check(domain, urgent=False) for _ in range(3)))
    assert await claim(queries, {"unseen-check": (1, 2)}) == [("unseen-check", 0)] * 2
    both = {"email": (0, 1), "unseen-check": (1, 2)}
    assert sorted(await claim(queries, both)) == [("email", 0), ("unseen-check", 0)]


async def test_what_waits_for_its_time_is_left_and_its_time_is_known(
    domain: Domain, queries: JobQueries
) -> None:
    await put(domain, check(domain, urgent=True, delay_s=60), check(domain, urgent=False))
    assert await claim(queries, {"unseen-check": (0, 5)}) == [("unseen-check", 0)]
    wait_s = await queries.next_due_s(["unseen-check", "email"])
    assert wait_s is not None
    assert 50 < wait_s <= 60
    assert await queries.next_due_s(["email"]) is None


async def test_what_is_claimed_is_taken_over_only_when_its_heartbeat_is_old(
    domain: Domain, queries: JobQueries
) -> None:
    await put(domain, check(domain, urgent=False))
    (job,) = await queries.claim(["unseen-check"], [0], [1], uuid4(), heartbeat_s=10)
    await domain.pool.execute("UPDATE pgqueuer SET heartbeat = now() - interval '11 s'")
    await queries.beat([job.id])
    assert await claim(queries, {"unseen-check": (0, 1)}) == []
    await domain.pool.execute("UPDATE pgqueuer SET heartbeat = now() - interval '11 s'")
    assert await claim(queries, {"unseen-check": (0, 1)}) == [("unseen-check", 0)]


async def test_a_dead_letter_is_claimed_by_nobody_and_says_why(
    domain: Domain, queries: JobQueries
) -> None:
    await put(domain, check(domain, urgent=False))
    (job,) = await queries.claim(["unseen-check"], [0], [1], uuid4(), heartbeat_s=10)
    await queries.hold(job, "http_500")
    assert await claim(queries, {"unseen-check": (0, 1)}) == []
    why = await domain.pool.fetchval(
        "SELECT traceback->>'exception_message' FROM pgqueuer_log WHERE status = 'failed'"
    )
    assert why == "http_500"
