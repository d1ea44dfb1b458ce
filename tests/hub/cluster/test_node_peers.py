"""A Node server on the official adapter and the official emitter in one cluster with two of our
nodes: every operation, both ways, bytes included.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from protocol.events import Emit
from protocol.redis_wire import Broadcast
from tests.hub.cluster.node_peer import NodePeer
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.valkey import Valkey

BYTES = b"\x00\xff\x01"


class Peers(NamedTuple):
    a: Node
    b: Node
    node: NodePeer

    async def publish(self, id_: str, *rooms: str, **more: Any) -> None:
        data = {"id": id_, "b": BYTES, "제주": [1.5, None, True]}
        emit = Emit(id=id_, event="x", rooms=rooms, data=data, **more)
        await self.a.cluster.emitter.publish([emit])

    async def received(self, client: str, count: int) -> Any:
        return await self.node.until(lambda got: len(got) >= count, "received", client)


@pytest.fixture
async def peers(valkey: Valkey, names: Names) -> AsyncIterator[Peers]:
    node = await NodePeer.start(valkey.url, names[1].key)
    a, b = [await Node(valkey.url, names, classic_out=True).start() for _ in range(2)]
    yield Peers(a, b, node)
    await a.stop()
    await b.stop()
    await node.stop()


async def test_our_emits_reach_nodes_clients_as_they_were_meant(peers: Peers) -> None:
    """Without an offset: what is ours alone in a message never reaches their clients."""
    await peers.node("client", "c1", ["r", "q"])
    await peers.node("client", "c2", ["q", "mute"])
    await peers.publish("1", "r", "q")
    await peers.publish("2", "q", except_rooms=("mute",))
    await peers.publish("3", *"abcde", "q")
    await peers.publish("4")
    await peers.received("c1", 4)
    await peers.received("c2", 3)
    await peers.publish("5", "r", "q", klass="volatile")  # dropped by Node in a burst
    first, second = await peers.received("c1", 5), await peers.received("c2", 4)
    assert [event[1]["id"] for event in first] == ["1", "2", "3", "4", "5"]
    assert [event[1]["id"] for event in second] == ["1", "3", "4", "5"]
    assert first[0] == ["x", {"id": "1", "b": BYTES, "제주": [1.5, None, True]}]


@pytest.mark.parametrize("source", ["emit", "emitter"])
async def test_their_emits_reach_our_members(peers: Peers, source: str) -> None:
    first = await peers.a.join("s1", "r")
    second = await peers.b.join("s2", "q", "r")
    muted = await peers.b.join("s3", "q", "mute")
    args = ["x", {"id": "1"}, BYTES, [None, "제주"], {"$date": 1795251900123}]
    await peers.node(source, {"rooms": ["r"]}, *args)
    await peers.node(source, {"rooms": ["r", "q"], "except": ["mute"]}, "x", {"id": "2"})
    await peers.node(source, {}, "x", {"id": "3"})
    await peers.node(source, {"rooms": ["s2"], "volatile": True}, "x", {"id": "4"})
    await until(lambda: len(second.received) == 4 and len(first.received) == 3)
    await until(lambda: muted.ids == ["3"])
    assert first.ids == ["1", "2", "3"]
    assert second.ids == ["1", "2", "3", "4"]
    assert first.received[0].args == [
        {"id": "1"},
        BYTES,
        [None, "제주"],
        "2026-11-21T09:05:00.123Z",
    ]
    assert [b.klass for b in second.received] == ["room", "room", "room", "volatile"]
    assert all(b.offset == "" for b in second.received)


async def test_broadcasts_with_acks_both_ways(peers: Peers) -> None:
    for node, sid in ((peers.a, "s1"), (peers.b, "s2")):
        await node.join(sid, "r")
        node.sockets.answers[sid] = [{"from": sid, "b": BYTES}]
    await peers.node("client", "c1", ["r"])
    ours = await peers.a.cluster.requests.ask_clients(
        Broadcast(event="q", args=[BYTES], rooms=("r",)), 5
    )
    expected = [{"from": "c1"}, {"b": BYTES, "from": "s1"}, {"b": BYTES, "from": "s2"}]
    assert (sorted(ours.values, key=lambda v: v["from"]), ours.missing) == (expected, 0)
    assert (await peers.received("c1", 1))[0] == ["q", BYTES]
    theirs = await peers.node("ask", {"rooms": ["r"], "timeout": 3000}, "q", BYTES)
    assert sorted(theirs, key=lambda v: v["from"]) == expected
    assert await peers.node("ask", {"rooms": ["nobody"], "timeout": 3000}, "q") == []


async def test_sockets_are_fetched_both_ways(peers: Peers) -> None:
    await peers.a.join("s1", "r")
    await peers.b.join("s2", "r", "mute")
    sid = await peers.node("client", "c1", ["r"])
    ours = await peers.b.cluster.requests.fetch_sockets("/", ("r",), ("mute",))
    assert ({socket.id for socket in ours.values}, ours.missing) == ({"s1", sid}, 0)
    (node_one,) = [socket for socket in ours.values if socket.id == sid]
    assert (set(node_one.rooms), node_one.data) == ({sid, "r"}, {"name": "c1"})
    assert "secret" not in str(node_one.handshake)
    theirs = await peers.node("fetch", {"rooms": ["r"]})
    assert {socket["id"] for socket in theirs} == {"s1", "s2", sid}
    ours_there = [socket for socket in theirs if socket["id"] in {"s1", "s2"}]
    assert "secret" not in str(ours_there)
    assert sorted(ours_there[0]["rooms"]) in (["r", "s1"], ["mute", "r", "s2"])


async def test_rooms_and_servers_are_counted_both_ways(peers: Peers) -> None:
    await peers.a.join("s1", "r")
    await peers.b.join("s2", "q")
    sid = await peers.node("client", "c1", ["p"])
    rooms = {"s1", "r", "s2", "q", sid, "p"}
    ours = await peers.a.cluster.requests.all_rooms("/")
    assert (set(ours.values), ours.missing) == (rooms, 0)
    assert set(await peers.node("allRooms")) == rooms
    assert await peers.node("serverCount") == 3
    assert await peers.a.cluster.requests.server_count("/") == 3


async def test_sockets_join_leave_and_are_cut_by_our_order(peers: Peers) -> None:
    requests = peers.a.cluster.requests
    sid = await peers.node("client", "c1", ["r"])
    ours = await peers.b.join("s1", "r")
    await requests.join("/", ("r",), ("new",))
    await requests.leave("/", ("new",), ("r",))
    await until(lambda: ours.rooms == {"s1", "new"})
    await peers.node.until(lambda rooms: set(rooms) == {sid, "new"}, "rooms", sid)
    await requests.disconnect("/", ("new",), close=True)
    await until(lambda: peers.b.sockets.disconnected == [("s1", True)])
    await peers.node.until(lambda connected: not connected, "connected", "c1")


@pytest.mark.parametrize(
    ("join", "leave", "cut"),
    [("join", "leave", "disconnect"), ("emitterJoin", "emitterLeave", "emitterDisconnect")],
)
async def test_sockets_join_leave_and_are_cut_by_their_order(
    peers: Peers, join: str, leave: str, cut: str
) -> None:
    first, second = await peers.a.join("s1", "r"), await peers.b.join("s2", "r", "stay")
    await peers.node(join, {"rooms": ["r"], "except": ["stay"]}, ["new", "newer"])
    await peers.node(leave, {"rooms": ["new"]}, ["r"])
    await until(lambda: first.rooms == {"s1", "new", "newer"})
    assert second.rooms == {"s2", "r", "stay"}
    await peers.node(cut, {"rooms": ["new", "stay"]}, True)
    await until(lambda: peers.a.sockets.disconnected and peers.b.sockets.disconnected)
    assert peers.a.sockets.disconnected == [("s1", True)]
    assert peers.b.sockets.disconnected == [("s2", True)]


async def test_servers_talk_to_servers_both_ways(peers: Peers) -> None:
    await peers.a.cluster.requests.server_side_emit("/", ["hello", 1, "제주"])
    assert await peers.node.until(bool, "served") == [[1, "제주"]]
    ours = await peers.a.cluster.requests.server_side_ask("/", ["who", "x"])
    assert ours.missing == 0
    answers = sorted(ours.values, key=lambda value: value["from"])
    assert answers == [{"from": "hub", "args": ["who", "x"]}, {"from": "node", "arg": "x"}]

    await peers.node("serverSideEmit", "hello", {"n": 1})
    await peers.node("emitterServerSideEmit", "hello", "emitter")
    expected = [("/", ["hello", {"n": 1}]), ("/", ["hello", "emitter"])]
    await until(lambda: peers.b.sockets.served[-2:] == expected)
    asked = await peers.node("serverSideAsk", "who", "y")
    assert asked == [{"from": "hub", "args": ["who", "y"]}] * 2
