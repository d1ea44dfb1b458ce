"""Story: a hub that traces every event computes in one thread, as one that traces nothing does."""

from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.client import Person
from tests.fakes.watchers import FakeCollector
from tests.stories.latency import token_of
from tests.stories.processes import Door, doors, environment

pytestmark = pytest.mark.story

EVENTS = 300
OTHERS = 0.02
"""Of the first thread's time: what a look-up of a name may take."""


async def test_no_thread_computes_beside_the_sockets(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with FakeCollector() as collector:
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACES_SAMPLE_RATE": "1"}
        limits = {"SOCKET_RATE_MAX": "1000000", "SHUTDOWN_DRAIN_MS": "0"}
        env = environment(database_url, redis_url, **traced, **limits)
        hub = Door("hub", env, tmp_path / "hub.log")
        async with doors(hub):
            person = Person(hub.url, token_of(domain, "busy"))
            await person.connect()
            room = (await person.call("neighbourhood:join", {"code": "aewol"}))["room"]
            before = threads_s(hub.pid)
            for _ in range(EVENTS):
                assert (await person.call("presence:get", {"room": room}))["ok"]
            await collector.wait(lambda: len(collector.named("presence:get")) == EVENTS, 10)
            spent = {
                thread: seconds - before.get(thread, 0.0)
                for thread, seconds in threads_s(hub.pid).items()
            }
            await person.close()
    first = spent.pop(hub.pid)
    print(f"{EVENTS} spans, {first:.3f} s in one thread, {len(spent)} others: {spent}")
    assert sum(spent.values()) <= OTHERS * first, spent


def threads_s(pid: int) -> dict[int, float]:
    """Seconds of processor that each thread of a process had."""
    return {
        int(one.name): int((one / "schedstat").read_text().split()[0]) / 1e9
        for one in Path(f"/proc/{pid}/task").iterdir()
    }
