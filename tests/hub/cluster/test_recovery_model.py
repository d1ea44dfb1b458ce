"""Offset + replay + live is everything, without gap or unlabelled repeat: random lives of clients
and nodes against a real Valkey.
"""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.conftest import examples
from tests.hub.cluster.slots import fresh_names
from tests.hub.cluster.valkey import Valkey
from tests.hub.cluster.world import ROOMS, Operation, World, play

room = st.sampled_from(ROOMS)
which = st.integers(0, 2)
node = st.integers(0, 1)
publish = st.tuples(
    st.just("publish"),
    st.lists(room, max_size=5, unique=True).map(tuple),
    st.lists(room, max_size=1).map(tuple),
    st.sampled_from(["alert", "room", "room"]),
)
connect = st.tuples(st.just("connect"), which, node)
join = st.tuples(st.just("join"), which, room)
leave = st.tuples(st.just("leave"), which, room)
take = st.tuples(st.just("take"), which, st.integers(1, 4))
drop = st.tuples(st.sampled_from(["drop", "notice"]), which)
faults = st.one_of(
    st.tuples(st.just("break_bus"), node),
    st.tuples(st.just("lag"), node),
    st.tuples(st.just("kill_node"), node),
    st.tuples(st.just("trim"), room),
    st.tuples(st.just("new_epoch")),
    st.tuples(st.just("publish_again"), st.integers(0, 50)),
)
together = st.tuples(st.just("together"), publish, st.one_of(connect, join, leave, faults), publish)
operations = st.lists(
    st.one_of(publish, publish, publish, take, take, join, leave, drop, connect, faults, together),
    min_size=5,
    max_size=40,
)


async def live(url: str, story: list[Operation]) -> None:
    world = await World(url, fresh_names()).start()
    try:
        async with asyncio.timeout(60):
            for client in range(3):
                await play(world, ("connect", client, client % 2))
                await play(world, ("take", client, 1))
                for joined in ROOMS[client : client + 2]:
                    await play(world, ("join", client, joined))
            for operation in story:
                await play(world, operation)
            await world.settle()
        for one in world.clients:
            note(f"{one.name}: {one.handled[one.begins :]}")
        world.check()
    finally:
        await world.stop()


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=operations)
def test_property_everything_once_in_order_or_told(valkey: Valkey, story: Any) -> None:
    # the stock loop names a connection that was left behind; uvloop waits for it at close
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(live(valkey.url, story))
