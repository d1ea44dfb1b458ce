"""A connection that stands proves nothing: what passed while it was deaf is found and mended, or
whoever missed it is told.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from hub.cluster import pulse
from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.pulse import Pulse
from hub.cluster.server import Server
from protocol.events import Emit
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.valkey import Valkey
from tests.hub.cluster.vip import Vip

pytestmark = pytest.mark.fault(7)

Record = Callable[[str, object], None]
KEPT = LogLimits(window=30, events=100)


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Often, and so patient that a beat which never comes is the only sign."""
    monkeypatch.setattr(pulse, "BEAT_EVERY", 0.05)
    monkeypatch.setattr(pulse, "BEATS_MISSED", 1000)


def emits(*ids: str) -> list[Emit]:
    return [Emit(id=id_, event="x", rooms=("r",), data={"id": id_}) for id_ in ids]


@pytest.fixture
async def vip(valkey: Valkey) -> AsyncIterator[Vip]:
    vip = Vip(valkey.port)
    yield vip
    await vip.stop()


@pytest.fixture
async def node(vip: Vip, names: Names, quick_beats: None) -> AsyncIterator[Node]:
    node = await Node(await vip.start(), names, limits=KEPT).start()
    yield node
    await node.stop()


async def deaf_for_a_beat(vip: Vip, node: Node, emitter: Emitter, *ids: str) -> None:
    """Events and at least one beat that Redis took are lost on the way."""
    vip.deaf = True
    await emitter.publish(emits(*ids))
    unheard = node.cluster.pulse._unheard
    unheard.clear()
    await until(lambda: any(unheard.values()))
    vip.deaf = False


@pytest.mark.single_server
async def test_a_beat_that_never_came_is_a_gap_and_the_logs_mend_it(
    vip: Vip, node: Node, emitter: Emitter, record_property: Record
) -> None:
    socket = await node.join("s1", "r")
    await emitter.publish(emits("1", "2"))
    await until(lambda: socket.ids == ["1", "2"])
    await deaf_for_a_beat(vip, node, emitter, "3", "4", "5")
    await until(lambda: node.cluster.bus.gaps and node.cluster.bus.ready)
    await emitter.publish(emits("6"))
    await node.heard_all()
    assert socket.ids == ["1", "2", "3", "4", "5", "6"]
    assert node.sockets.lost_rooms == []
    record_property("seen", "three events lost on a standing connection, mended in order")


@pytest.mark.single_server
async def test_who_was_handed_something_later_is_told_that_it_missed_something(
    vip: Vip, node: Node, emitter: Emitter, line: Line, names: Names
) -> None:
    """A client keeps one position: nothing before it would ever be replayed."""
    await node.join("s1", "r")
    await node.join("s2", "quiet")
    sessions = node.cluster.sessions
    for pid, room in (("p1", "r"), ("p2", "quiet")):
        await sessions.open(
            pid=pid, user="mina", sid=f"s{pid}", namespace="/", token=pid, rooms=[room]
        )
    socket = node.sockets.all["s1"]
    node.cluster.pulse._gap, gap = (lambda: None), node.cluster.pulse._gap
    await deaf_for_a_beat(vip, node, emitter, "1", "2")
    await emitter.publish(emits("3"))
    await until(lambda: socket.ids == ["3"])
    node.cluster.pulse._gap = gap
    await deaf_for_a_beat(vip, node, emitter)
    await until(lambda: node.cluster.bus.gaps and node.cluster.bus.ready)
    assert node.sockets.lost_rooms == [("/", ("r",))]
    assert await line.call("EXISTS", names[0].session("p1")) == 0, "recovered: false"
    assert await line.call("EXISTS", names[0].session("p2")) == 1
    await emitter.publish(emits("4"))
    await node.heard_all()
    assert socket.ids == ["3", "4"]


class Pair:
    """A master and its replica behind one address."""

    def __init__(self) -> None:
        self.first = Valkey("--repl-diskless-sync-delay", "0")
        self.second = Valkey(
            "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", str(self.first.port)
        )
        self.vip = Vip(self.first.port)
        self.lines: list[Line] = []

    def line(self, server: Valkey) -> Line:
        self.lines.append(Line(Server.of(server.url), "operator"))
        return self.lines[-1]

    async def close(self) -> None:
        for line in self.lines:
            await line.close()
        await self.vip.stop()
        self.first.close()
        self.second.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    await pair.close()


async def in_step(replica: Line) -> None:
    async with asyncio.timeout(20):
        while b"master_link_status:up" not in await replica.call("INFO", "replication"):
            await asyncio.sleep(0.02)


@pytest.mark.single_server
async def test_a_failover_that_keeps_connections_loses_nothing(
    pair: Pair, names: Names, record_property: Record
) -> None:
    """The old master becomes a replica and keeps whoever listens; what was published before it was
    in step with the new one never came there.
    """
    first, second = pair.line(pair.first), pair.line(pair.second)
    await in_step(second)
    node = await Node(await pair.vip.start(), names, limits=KEPT).start()
    socket = await node.join("s1", "r")
    await node.cluster.emitter.publish(emits("1", "2"))
    await node.heard_all()
    await second.call("REPLICAOF", "NO", "ONE")
    pair.vip.port = pair.second.port
    await first.call("SET", "astray", "1")  # so that nothing of the gap is in a backlog
    new = Emitter(second, *names, KEPT)
    await new.publish(emits("3", "4", "5"))
    await first.call("REPLICAOF", "127.0.0.1", pair.second.port)
    await in_step(first)
    listeners = await first.call("PUBSUB", "NUMSUB", names[1].room("/", "r"))
    await new.publish(emits("6"))
    await until(lambda: "6" in socket.ids)
    await until(lambda: node.cluster.bus.ready)
    await node.cluster.emitter.publish(emits("7"))
    await node.heard_all()
    assert listeners[1] == 1, "the connection was kept"
    assert socket.ids == ["1", "2", "3", "4", "5", "6", "7"]
    channel = names[1].room("/", "r")
    assert (await second.call("PUBSUB", "NUMSUB", channel))[1] == 1, "it listens to the master"
    assert (await first.call("PUBSUB", "NUMSUB", channel))[1] == 0
    await node.stop()
    record_property("seen", "1–7 in order over a failover that kept its connection")


@pytest.mark.single_server
async def test_a_refused_subscription_is_asked_for_until_it_is_taken(names: Names) -> None:
    """Nothing tells later that the channel is deaf: the connection stands and beats."""
    server = Valkey("--user", "boss", "on", "nopass", "~*", "&*", "+@all")
    boss = Line(Server.of(f"redis://boss:-@127.0.0.1:{server.port}"), "boss")
    node = await Node(server.url, names, limits=KEPT).start()
    own, listened = names[0].node("*"), names[1].room("/", "heard")
    await boss.call("ACL", "SETUSER", "default", "resetchannels", f"&{own}", f"&{listened}")
    await until(lambda: not node.cluster.bus.ready)
    socket = node.sockets.add("s1", "r")
    tries = node.cluster.bus.reconnects
    await until(lambda: node.cluster.bus.reconnects > tries + 1)
    await boss.call("ACL", "SETUSER", "default", "allchannels")
    async with asyncio.timeout(10):
        await node.cluster.bus.subscribed("/", ["r"])
    await node.cluster.emitter.publish(emits("1"))
    await node.heard_all()
    assert socket.ids == ["1"]
    await node.stop()
    await boss.close()
    server.close()


async def test_the_pulse_outlives_a_beat_that_fails_while_a_connection_begins(
    own_valkey: Valkey, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "BEAT_EVERY", 0.05)
    line, boss = Line(Server.of(own_valkey.url)), Line(Server.of(own_valkey.url))
    await line.call("PING")

    def ignore(*_: Any) -> None:
        return None

    beats = Pulse(line, names[0], "n", heard=ignore, unbroken=ignore, gap=ignore, evict=ignore)
    await boss.call("CLIENT", "PAUSE", 300, "ALL")
    running = asyncio.create_task(beats.run(ignore))
    await until(lambda: beats._unheard)
    beats.restart()
    await until(lambda: beats._unheard)  # the next one is sent
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await line.close()
    await boss.close()
