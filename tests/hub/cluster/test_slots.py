"""A Redis Cluster of three masters and three replicas: whoever owns our slot is our server."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.presence import Census
from hub.cluster.pulse import order_drain
from hub.cluster.replay import Refusal
from hub.cluster.server import Server
from hub.cluster.tail import Passed, Tail
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import AWAY, Refused, connect
from protocol.events import Emit
from protocol.names import Channels, Keys
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.outbox import Outbox
from tests.hub.cluster.slots import Slots, fresh_names
from tests.hub.cluster.sockets import Socket

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def slots() -> Iterator[Slots]:
    servers = Slots()
    yield servers
    servers.close()


@pytest.fixture
def names() -> Names:
    return fresh_names(on_a_cluster=True)


@pytest.fixture
async def line(slots: Slots, names: Names) -> AsyncIterator[Line]:
    line = Line(Server.of(slots.url), "test")
    yield line
    await line.close()


async def heard_by(node: Node, socket: Socket, outbox: Outbox) -> None:
    """Nothing is missing; twice came at most what was published again."""
    await node.heard_all()
    times = Counter(socket.ids)
    assert set(times) == set(outbox.all)
    assert {id_ for id_, count in times.items() if count > 1} <= outbox.swept


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.set("{hub}:there", "1"))
    except (RedisError, *AWAY):
        return False


async def test_the_owner_is_followed_wherever_it_goes(
    slots: Slots, names: Names, line: Line
) -> None:
    """A planned switch, a slot that is moved, kill -9: each begins an epoch, none loses any."""
    a, b = await Node(slots.url, names).start(), await Node(slots.url, names).start()
    sockets = await a.join("s1", "r"), await b.join("s2", "r")
    client = connect(Settings.load({"REDIS_URL": slots.url}, complete=False).redis)
    outbox = Outbox(Emitter(line, *names, LogLimits()))
    await outbox.publish_for(0.2)
    epochs = [outbox.epoch]
    for fault in (slots.fail_over, slots.move, slots.kill_owner):
        happening = asyncio.create_task(asyncio.to_thread(fault))
        await outbox.publish_until(lambda: outbox.epoch > epochs[-1])
        epochs.append(outbox.epoch)
        await happening
        await until(lambda: a.cluster.bus.ready and b.cluster.bus.ready, within=5)
        while not await answers(client):
            await asyncio.sleep(0.05)
    await outbox.sweep()
    for node, socket in zip((a, b), sockets, strict=True):
        await heard_by(node, socket, outbox)
    assert outbox.failed, "the faults were felt"
    await client.aclose()
    for node in (a, b):
        await node.stop()
    for member in slots.members:
        if member.process is not None and member.process.poll() is not None:
            await asyncio.to_thread(member.start)
    await asyncio.to_thread(slots.await_whole)


async def test_a_replica_that_was_left_behind_takes_over(
    slots: Slots, names: Names, line: Line
) -> None:
    """It has nothing of what was published last: whoever was away is told so and nobody is told
    that they have it all, and what was kept is heard.
    """
    node = await Node(slots.url, names).start()
    socket = await node.join("s1", "r")
    session = await node.cluster.sessions.open(
        pid="p1", user="mina", sid="sid-p1", namespace="/", token="t1", rooms=("r",)
    )
    outbox = Outbox(Emitter(line, *names, LogLimits()))
    await outbox.publish()
    await line.call("WAIT", 1, 5000)
    replica = await asyncio.to_thread(slots.leave_behind)
    for _ in range(20):
        await outbox.publish()
    keys = [names[0].published(id_) for id_ in outbox.all]
    dead, known = await asyncio.to_thread(slots.promote, replica, keys)
    assert known == 1, "what the session needs, and nothing of later"
    await until(lambda: node.cluster.bus.ready, within=5)
    await outbox.sweep()
    await heard_by(node, socket, outbox)
    back = await node.cluster.sessions.claim(pid="p1", user="mina", namespace="/", token="t2")
    assert back is not None
    for offset in (session.at, socket.received[0].offset, socket.received[20].offset):
        node.sockets.add("sid-p1", "r")
        found = await node.cluster.recovery.replay(back[0], offset, ["r"])
        assert found is Refusal.EPOCH
    await node.stop()
    await asyncio.to_thread(dead.start)
    await asyncio.to_thread(slots.await_whole)


async def test_servers_are_counted_on_every_node(slots: Slots, names: Names) -> None:
    """Each node of a cluster knows only of those who listen to it."""
    a, b = await Node(slots.url, names).start(), await Node(slots.url, names).start()
    assert await a.cluster.requests.server_count("/") == 2
    strangers = [Redis(port=member.port) for member in slots.members]
    channels = [stranger.pubsub() for stranger in strangers]
    for channel in channels:
        await channel.subscribe(names[1].request("/"))
        await channel.get_message(timeout=5)
    assert await b.cluster.requests.server_count("/") == 2 + len(strangers)
    for channel, stranger in zip(channels, strangers, strict=True):
        await channel.aclose()  # type: ignore[no-untyped-call]
        await stranger.aclose()
    await a.stop()
    await b.stop()


async def test_tail_hears_the_rooms_that_somebody_listens_to(
    slots: Slots, names: Names, line: Line
) -> None:
    node = await Node(slots.url, names).start()
    await node.join("s1", "r")
    heard: list[Passed] = []
    tail = Tail(Server.of(slots.url), names[1], heard.append, lambda _: None)
    listening = asyncio.Event()
    running = asyncio.create_task(tail.run(listening.set))
    await listening.wait()
    emitter = Emitter(line, *names)
    await emitter.emit("x", {"id": "1"}, room="r")
    await until(lambda: [one.said for one in heard] == [{"id": "1"}])
    await node.join("s2", "later")
    count = len(tail._found)
    await until(lambda: len(tail._found) > count)
    await emitter.emit("x", {"id": "2"}, room=["r", "later"])
    await until(lambda: [one.said for one in heard] == [{"id": "1"}, {"id": "2"}])
    running.cancel()
    await asyncio.wait({running})
    await node.stop()


async def test_a_publish_counts_once_a_replica_has_it(slots: Slots, names: Names) -> None:
    node = await Node(slots.url, names).start()
    socket = await node.join("s1", "r")
    first, second = (Line(Server.of(slots.url), replicas=1) for _ in range(2))

    async def publish(line: Line, *ids: str) -> None:
        emits = [Emit(id=id_, event="x", rooms=("r",), data={"id": id_}) for id_ in ids]
        await Emitter(line, *names).publish(emits)

    await publish(first, "1", "2")
    replica = await asyncio.to_thread(slots.replica)
    replica.signal(signal.SIGSTOP)
    try:
        for line in (first, second):  # who tries again may be another process
            with pytest.raises(Refused, match="0 of 1 replicas"):
                await publish(line, "3")
    finally:
        replica.signal(signal.SIGCONT)
    await asyncio.to_thread(slots.await_whole)
    await publish(second, "3")
    await node.heard_all()
    assert socket.ids == ["1", "2", "3"], "it went out at once, and once"
    for line in (first, second):
        await line.close()
    await node.stop()


RULES = re.compile(r"^    ACL SETUSER (\w+) (.*)$", re.MULTILINE)
BESIDES = re.compile(r"^    (hub|service|listener|operator): (.*)$", re.MULTILINE)


async def test_the_users_of_the_page_are_enough_on_a_cluster(slots: Slots) -> None:
    text = (ROOT / "deploy/docs/cluster.md").read_text()
    besides = dict(BESIDES.findall(text))
    for user, rules in RULES.findall(text):
        words = rules.replace("jeju:", "{jeju}:").replace("PASSWORD", "sesame").split()
        for member in slots.members:
            member.ask("ACL", "SETUSER", user, *words, *besides[user].split())

    def url(user: str) -> str:
        return slots.url.replace("//", f"//{user}:sesame@")

    names = Keys("{jeju}:"), Channels("jeju", "{jeju}:")
    node = await Node(url("hub"), names, node="n1").start()
    socket = await node.join("s1", "r")
    heard: list[Passed] = []
    listening = asyncio.Event()
    tail = Tail(Server.of(url("listener"), prefix="{jeju}:"), names[1], heard.append, heard_lost)
    running = asyncio.create_task(tail.run(listening.set))
    await listening.wait()
    async with Emitter.connect(
        url("service"), prefix="{jeju}:", adapter_key="jeju", classic_out=True
    ) as service:
        await service.emit("x", {"id": "1"}, room="r")
        await service.emit("x", {"id": "2"}, room="r", volatile=True)
    await until(lambda: socket.ids == ["1", "2"])
    await until(lambda: [one.said for one in heard if one.offset] == [{"id": "1"}])
    operator = Line(Server.of(url("operator"), prefix="{jeju}:"))
    assert await Census(operator, names[0]).nodes() == ["n1"]
    assert await operator.listeners(names[0].node("n1")) == 1
    assert await order_drain(operator, names[0], "n1")
    with pytest.raises(Refused, match="NOPERM"):
        await operator.call("GET", names[0].epoch)
    running.cancel()
    await asyncio.wait({running})
    await operator.close()
    await node.stop()


def heard_lost(sentence: str) -> None:
    raise AssertionError(sentence)
