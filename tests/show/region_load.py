"""Two regions on two masters of one Redis Cluster: what each master spends on its own region, alone
and while the other region is as busy.

A publisher sends ready-made messages, as the bench's does: `python -m tests.show.region_load
publisher …`. Rates are kept, so that what a master spends by the second (leases, the cluster's own
bus) is the same share of every run.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any, Final, NamedTuple

from protocol.redis_wire import Broadcast, encode_closed
from tests.hub.cluster.slots import TAG, Slots
from tests.show import Verdict
from tests.show.redis_cost import DATA, ROOMS, Names, Peer, answer, cpu_of, peer, run_role

RATE: Final = 20_000
LOGGED_RATE: Final = 1_000
"""Events a second and region: ready-made ones, and those that the emitter's script also logs."""

SECONDS: Final = 5
REPS: Final = 3
ALIKE: Final = 1.1
KEPT: Final = 0.97
"""Share of the rate that must be reached."""

TICK_S: Final = 0.005
HEARD: Final = 10
"""Of 100 rooms, those in which a region's node has members: it stays a small part of the load."""

TAGS: Final = [f"{{region{number}}}:" for number in range(100)]


class Region(NamedTuple):
    """Port of its master, and its publisher."""

    port: int
    publisher: Peer


class Spent(NamedTuple):
    """us of its master's CPU an event, and events a second."""

    cpu: float
    rate: float


async def run_publisher(names: Names, how: dict[str, Any]) -> None:
    """Of each line it is for how many seconds it publishes, `rate` a second, before it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", how["port"])
    burst = [
        _command(names, ROOMS[number % len(ROOMS)]) for number in range(int(how["rate"] * TICK_S))
    ]
    done = 0

    async def publish(line: str) -> int:
        nonlocal done
        begin = time.monotonic()
        for tick in range(round(int(line or 0) / TICK_S)):
            await asyncio.sleep(begin + tick * TICK_S - time.monotonic())
            writer.write(b"".join(burst))
            await _replies(reader, len(burst))
            done += len(burst)
        return done

    await answer(publish)
    writer.close()


async def _replies(reader: asyncio.StreamReader, count: int) -> None:
    """One integer each."""
    for _ in range(count):
        reply = await reader.readuntil(b"\r\n")
        if not reply.startswith(b":"):
            raise RuntimeError(reply.decode())


def _command(names: Names, room: str) -> bytes:
    """An event to a room as it goes by the slot's own channel."""
    _, channels = names.both
    broadcast = Broadcast(event="news", args=({"id": "ready-made", **DATA},), rooms=(room,))
    ((_, message),) = encode_closed(broadcast)
    parts = (b"SPUBLISH", channels.own(channels.room("/", room)).encode(), message)
    return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def spend(regions: Sequence[Region], order: str, events: int) -> list[Spent]:
    """What each region's master spends while all of these publish."""
    ports = [region.port for region in regions]
    used, begin = await cpu_of(ports), time.monotonic()
    await asyncio.gather(*(region.publisher.says(order) for region in regions))
    took = time.monotonic() - begin
    return [
        Spent((now - then) * 1e6 / events, events / took)
        for now, then in zip(await cpu_of(ports), used, strict=True)
    ]


class Pair(NamedTuple):
    """Of one region: what its master spends alone and beside the other."""

    alone: float
    beside: float
    rate: float

    def __str__(self) -> str:
        return f"{self.alone:.1f} -> {self.beside:.1f}us ({self.beside / self.alone:.3f})"


async def compare(slots: Slots, order: str, events: int, **how: Any) -> list[Pair]:
    """Two regions, one after the other and both at once, REPS times."""
    other = next(tag for tag in TAGS if slots.owner(tag) is not slots.owner(TAG))
    async with AsyncExitStack() as stack:
        regions = []
        for number, tag in enumerate((TAG, other)):
            names, port = Names(slots.url, tag, f"region{number}", True), slots.owner(tag).port
            await stack.enter_async_context(peer("node", names, rooms=HEARD))
            publisher = peer("publisher", names, **how, port=port)
            regions.append(Region(port, await stack.enter_async_context(publisher)))
        await spend(regions, order, events)  # the first time buffers grow
        alone: list[list[Spent]] = [[], []]
        beside: list[list[Spent]] = [[], []]
        for _ in range(REPS):
            for place, region in enumerate(regions):
                alone[place] += await spend([region], order, events)
            for place, one in enumerate(await spend(regions, order, events)):
                beside[place].append(one)
    return [
        Pair(
            median(one.cpu for one in here),
            median(one.cpu for one in there),
            median(one.rate for one in there),
        )
        for here, there in zip(alone, beside, strict=True)
    ]


async def regions() -> Verdict:
    """Ready-made messages at the rate that is asked for decide. Logged ones, as the emitter sends
    them, are told beside: of these a master takes some 10,000 a second, with all else on two
    processors a fraction of that, and a burst of fifty is short enough to feel whoever else has
    used its processor's caches in between.
    """
    slots = Slots()
    try:
        ready = await compare(
            slots, str(SECONDS), RATE * SECONDS, module="tests.show.region_load", rate=RATE
        )
        logged = await compare(
            slots, str(LOGGED_RATE * SECONDS), LOGGED_RATE * SECONDS, rate=LOGGED_RATE
        )
    finally:
        slots.close()
    passed = all(one.beside <= ALIKE * one.alone for one in ready)
    kept = all(one.rate >= KEPT * RATE for one in ready)
    said = [
        f"{kind}: {'; '.join(map(str, pairs))} at {min(one.rate for one in pairs):.0f}/s each"
        for kind, pairs in (("ready-made", ready), ("logged", logged))
    ]
    return Verdict(
        passed and kept, f"each master's CPU an event, alone -> beside: {', '.join(said)}"
    )


if __name__ == "__main__":
    run_role({"publisher": run_publisher})
