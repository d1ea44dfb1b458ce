"""People are counted once, wherever their sockets are, and go with their node by score alone."""

import asyncio

import pytest

from hub.cluster.line import Line
from hub.cluster.presence import Census, Presence
from protocol.names import Channels, Keys

Names = tuple[Keys, Channels]


async def test_a_person_is_online_while_any_socket_lives(line: Line, names: Names) -> None:
    a, b = Presence(line, names[0], "a"), Presence(line, names[0], "b")
    await a.connect("mina", "s1")
    await b.connect("mina", "s2")
    assert await a.online(["mina", "jun", "mina"]) == {"mina"}
    await a.disconnect("s1")
    assert await a.online(["mina"]) == {"mina"}
    await b.disconnect("s2")
    await b.disconnect("s2")
    assert await a.online(["mina"]) == set()


async def test_online_asks_about_thousands_at_once(line: Line, names: Names) -> None:
    node = Presence(line, names[0], "a")
    for number in range(0, 1200, 100):
        await node.connect(f"u{number}", f"s{number}")
    found = await Census(line, names[0]).online(f"u{n}" for n in range(1200))
    assert found == {f"u{n}" for n in range(0, 1200, 100)}


async def test_over_the_limit_the_oldest_socket_goes(line: Line, names: Names) -> None:
    a = Presence(line, names[0], "a", per_user=2)
    b = Presence(line, names[0], "b", per_user=2)
    assert await a.connect("mina", "first") == []
    await asyncio.sleep(0.002)  # the order of connecting is kept in ms
    assert await b.connect("mina", "second") == []
    await asyncio.sleep(0.002)
    assert await a.connect("mina", "third") == ["first"]
    await asyncio.sleep(0.002)
    assert await a.connect("mina", "fourth") == ["second"]


async def test_people_are_counted_not_sockets(line: Line, names: Names) -> None:
    a, b = Presence(line, names[0], "a"), Presence(line, names[0], "b")
    await a.renew()
    await b.renew()
    place = names[0].room_online("chat:1")
    assert await a.enter(place, "mina") == (1, True)
    assert await a.enter(place, "mina") == (1, False)
    assert await b.enter(place, "mina") == (1, False)
    assert await b.enter(place, "jun") == (2, True)
    assert sorted(await a.people(place, 10)) == ["jun", "mina"]
    assert await a.leave(place, "mina") == (2, False)
    assert await a.leave(place, "mina") == (2, False), "node b still holds her"
    assert await b.leave(place, "mina") == (1, True)
    assert await b.leave(place, "jun") == (0, True)
    assert await b.leave(place, "jun") == (0, False)


async def test_a_dead_node_is_out_by_score_before_anything_is_reaped(
    line: Line, names: Names
) -> None:
    keys = names[0]
    dead = Presence(line, keys, "dead", ttl=1)
    alive = Presence(line, keys, "alive")
    await dead.renew()
    await alive.renew()
    place = keys.viewers("live1")
    await dead.connect("mina", "s1")
    await dead.enter(place, "mina")
    await alive.enter(place, "jun")
    assert await alive.count(place) == 2
    # Reapers are kept out: the keys themselves must not expire in this test.
    for key in (place, keys.seats(place), keys.presence("mina")):
        await line.call("PERSIST", key)
    async with asyncio.timeout(5):
        while await alive.count(place) != 1:
            await asyncio.sleep(0.05)
    assert await line.call("ZCARD", place) == 2, "still there, only expired"
    assert await alive.online(["mina"]) == set()
    assert await alive.people(place, 5) == ["jun"]
    assert await alive.nodes() == ["alive"]


async def test_renewing_brings_back_what_redis_lost(line: Line, names: Names) -> None:
    keys = names[0]
    node = Presence(line, keys, "a")
    place = keys.room_online("tag:sea")
    await node.connect("mina", "s1")
    await node.enter(place, "mina")
    await line.call("DEL", place, keys.seats(place), keys.presence("mina"))
    await node.renew()
    assert await node.online(["mina"]) == {"mina"}
    assert await node.count(place) == 1


async def test_a_node_that_goes_takes_its_people_along(line: Line, names: Names) -> None:
    keys = names[0]
    a, b = Presence(line, keys, "a"), Presence(line, keys, "b")
    await a.renew()
    await b.renew()
    place = keys.room_online("tag:sea")
    for sid in ("s1", "s2"):
        await a.connect("mina", sid)
        await a.enter(place, "mina")
    await b.enter(place, "jun")
    await a.clear()
    assert await b.online(["mina"]) == set()
    assert await b.people(place, 5) == ["jun"]
    assert await b.nodes() == ["b"]


async def test_nodes_that_leave_are_known_until_they_are_gone(line: Line, names: Names) -> None:
    a, b, c = (Presence(line, names[0], name) for name in "abc")
    for node in (a, b, c):
        await node.renew()
    await a.leave_soon()
    await b.leave_soon()
    assert (await c.nodes(), await c.leaving()) == (["a", "b", "c"], ["a", "b"])
    await line.call("DEL", names[0].nodes, names[0].leaving)
    for node in (a, b, c):
        await node.renew()
    assert (await c.nodes(), await c.leaving()) == (["a", "b", "c"], ["a", "b"]), "lease by lease"
    await a.clear()
    assert (await c.nodes(), await c.leaving()) == (["b", "c"], ["b"])


@pytest.mark.fault(28)
@pytest.mark.parametrize("other", ["bob/streaming", "/streaming:bob", "streaming:bob", ":bob"])
async def test_keys_of_different_people_never_meet(line: Line, names: Names, other: str) -> None:
    node = Presence(line, names[0], "a", per_user=1)
    assert await node.connect("bob", "s1", "/streaming") == []
    assert await node.online(["bob", other]) == set()
    assert await node.connect(other, "s2") == []
    assert await node.online(["bob", other]) == {other}
    assert await node.connect("bob", "s3") == []
    keys = {
        names[0].presence(user, space)
        for user in ("bob", other)
        for space in ("/", "/chat", "/streaming")
    }
    assert len(keys) == 6
