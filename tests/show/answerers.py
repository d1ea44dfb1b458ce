"""Urgent waves to thousands of open screens, with the hub, the api and a worker as processes."""

import asyncio
import socket
from contextlib import ExitStack
from time import process_time, time
from typing import Final, NamedTuple

from hub.domain.context import Domain
from tests.show import Verdict
from tests.show.draining import cpu_s
from tests.show.installed import PLACE, RADIUS_M, populate
from tests.show.main_job import installation
from tests.stories.latency import PHARMACY, percentile, token_of
from tests.stories.stack import Stack
from tests.stories.stamped import Crowd

WAVES, PEOPLE, PLACES, LIMIT_MS = 50, 5000, 200, 250
UNSURE: Final = PEOPLE // 10
"""Of so many the moment may be unknown."""

AT_ONCE: Final = 50
"""Sockets that connect beside each other."""

FRAME: Final = 600
"""Bytes of such an event, about."""

LOOK_S: Final = 0.01
PATIENCE_S: Final = 20.0
NEEDLE: Final = b'"question:urgent"'


class Wave(NamedTuple):
    """Seconds from the request to its answer, to the first socket, to the last, and to the rows and
    jobs. The sockets are those whose moment is known: `unsure` are how many are left out, as the
    people told by name have got their notification after it, and some a heartbeat.
    """

    answered: float
    first: float
    last: float
    stood: float
    unsure: int


async def waves_to_the_last() -> Verdict:
    """One wave after the other, each of a question of its own; the clock starts before the request
    that asks. Beside it the worker ranks people and writes their rows and jobs.
    """
    settings = {"URGENT_WAVES": f"0:{RADIUS_M}", "CONN_MAX_IP": "20000"}
    async with installation(**settings) as stack:
        await populate(stack.domain, PLACE, PEOPLE, "p-")
        crowd = await connected(stack)
        hub = cpu_s(stack.hub.pid)
        waves = [await one_wave(stack, crowd, number) for number in range(WAVES)]
        hub = (cpu_s(stack.hub.pid) - hub) / WAVES * 1000
        crowd.close()
    bare = bare_sends(b"x" * FRAME) * 1000
    unsure = max(wave.unsure for wave in waves)
    p99 = percentile([wave.last for wave in waves], 0.99) * 1000
    stages = " ".join(
        f"{name} p50={percentile(list(took), 0.5) * 1000:.0f}ms"
        f" p99={percentile(list(took), 0.99) * 1000:.0f}ms;"
        for name, took in zip(
            ("answered", "first socket", "last socket", f"rows and jobs of {PLACES}"),
            zip(*(wave[:4] for wave in waves), strict=True),
            strict=True,
        )
    )
    return Verdict(
        p99 < LIMIT_MS and unsure <= UNSURE,
        f"{WAVES} waves to {PEOPLE} sockets (at most {unsure} of unknown moment): {stages}"
        f" the hub's CPU {hub:.0f} ms a wave, that of as many bare sends {bare:.0f} ms",
    )


def bare_sends(frame: bytes) -> float:
    """Seconds of the processor for nothing but handing a frame to so many sockets: no hub on one
    core can be faster."""
    with ExitStack() as exits:
        door = exits.enter_context(socket.create_server(("127.0.0.1", 0), backlog=AT_ONCE))
        ends = []
        for _ in range(PEOPLE):
            exits.enter_context(socket.create_connection(door.getsockname()))
            ends.append(exits.enter_context(door.accept()[0]))
        begin = process_time()
        for one in ends:
            one.send(frame)
        return process_time() - begin


async def connected(stack: Stack) -> Crowd:
    crowd, seats = Crowd(stack.hub.url, NEEDLE), asyncio.Semaphore(AT_ONCE)

    async def connect(name: str) -> None:
        async with seats:
            await crowd.add(token_of(stack.domain, name))

    await asyncio.gather(*(connect(f"p-{n}") for n in range(1, PEOPLE + 1)))
    return crowd


async def one_wave(stack: Stack, crowd: Crowd, number: int) -> Wave:
    asker = stack.service.as_(token_of(stack.domain, f"asker-{number}"))
    lat, lng = PLACE
    body = PHARMACY | {"lat": lat, "lng": lng}
    begin = time()
    question = await asker.call("POST", "/questions", body)
    answered = time()
    async with asyncio.timeout(PATIENCE_S):
        stood = await _rows_stand(stack.domain, question["id"])
        crowd.read()
        while not all(crowd.arrivals.values()):
            await asyncio.sleep(LOOK_S)
            crowd.read()
    moments, id = list[float](), question["id"].encode()
    for heard in crowd.arrivals.values():
        (arrival,) = heard
        assert id in arrival.data, "heard of this one, once"
        heard.clear()
        if arrival.last:
            moments.append(arrival.at)
    return Wave(
        answered=answered - begin,
        first=min(moments) - begin,
        last=max(moments) - begin,
        stood=stood - begin,
        unsure=PEOPLE - len(moments),
    )


async def _rows_stand(d: Domain, question_id: str) -> float:
    """When everybody is ranked: their rows and jobs are of the same transactions."""
    while (
        await d.pool.fetchval(
            "SELECT recipients FROM urgent_waves WHERE question_id = $1 AND wave = 1", question_id
        )
        < PLACES
    ):
        await asyncio.sleep(LOOK_S)
    return time()
