"""Urgent waves to thousands of open screens, with the hub, the api and a worker as processes."""

import asyncio
from time import monotonic
from typing import Final

from hub.domain.context import Domain
from tests.show import Verdict
from tests.show.installed import PLACE, RADIUS_M, populate
from tests.show.main_job import installation
from tests.stories.latency import PHARMACY, percentile, token_of
from tests.stories.light import LightSocket
from tests.stories.stack import Stack

WAVES, PEOPLE, PLACES, LIMIT_MS = 50, 5000, 200, 250
AT_ONCE: Final = 50
"""Sockets that connect beside each other."""

LOOK_S: Final = 0.01
PATIENCE_S: Final = 20.0
NEEDLE: Final = b'"question:urgent"'


async def waves_to_the_last() -> Verdict:
    """One wave after the other, each of a question of its own; the clock starts before the request
    that asks. Beside it the worker ranks people and writes their rows and jobs.
    """
    settings = {"URGENT_WAVES": f"0:{RADIUS_M}", "CONN_MAX_IP": "20000"}
    async with installation(**settings) as stack:
        await populate(stack.domain, PLACE, PEOPLE, "p-")
        people = await connected(stack)
        firsts, lasts, stood = list[float](), list[float](), list[float]()
        for number in range(WAVES):
            first, last, rows = await one_wave(stack, people, number)
            firsts.append(first * 1000)
            lasts.append(last * 1000)
            stood.append(rows * 1000)
        for one in people:
            one.close()
    middle, p99 = percentile(lasts, 0.5), percentile(lasts, 0.99)
    return Verdict(
        p99 < LIMIT_MS,
        f"{WAVES} waves to {PEOPLE} sockets: first p50={percentile(firsts, 0.5):.0f}ms,"
        f" last p50={middle:.0f}ms p99={p99:.0f}ms max={max(lasts):.0f}ms;"
        f" rows and jobs of {PLACES} people p50={percentile(stood, 0.5):.0f}ms"
        f" p99={percentile(stood, 0.99):.0f}ms",
    )


async def connected(stack: Stack) -> list[LightSocket]:
    d, seats = stack.domain, asyncio.Semaphore(AT_ONCE)

    async def connect(name: str) -> LightSocket:
        async with seats:
            return await LightSocket(stack.hub.url, token_of(d, name), NEEDLE).connect()

    names = (f"p-{n}" for n in range(1, PEOPLE + 1))
    return await asyncio.gather(*(connect(name) for name in names))


async def one_wave(
    stack: Stack, people: list[LightSocket], number: int
) -> tuple[float, float, float]:
    """Seconds from the request to the first socket, to the last, and to the rows and jobs."""
    asker = stack.service.as_(token_of(stack.domain, f"asker-{number}"))
    lat, lng = PLACE
    body = PHARMACY | {"lat": lat, "lng": lng}
    begin = monotonic()
    question = await asker.call("POST", "/questions", body)
    async with asyncio.timeout(PATIENCE_S):
        stood = await _rows_stand(stack.domain, question["id"])
        while not all(one.arrivals for one in people):
            await asyncio.sleep(LOOK_S)
    moments, id = list[float](), question["id"].encode()
    for one in people:
        ((moment, data),) = one.arrivals
        assert id in data, "heard of this one, once"
        one.arrivals.clear()
        moments.append(moment - begin)
    return min(moments), max(moments), stood - begin


async def _rows_stand(d: Domain, question_id: str) -> float:
    """When everybody is ranked: their rows and jobs are of the same transactions."""
    while (
        await d.pool.fetchval(
            "SELECT recipients FROM urgent_waves WHERE question_id = $1 AND wave = 1", question_id
        )
        < PLACES
    ):
        await asyncio.sleep(LOOK_S)
    return monotonic()
