"""Questions and orders among our own nodes; tests/hub/cluster/test_node_peers.py asks Node."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from hub.cluster.line import Line
from hub.cluster.orders import revoke
from hub.cluster.server import Server
from protocol.events import Revocation
from protocol.redis_requests import (
    Kind,
    Request,
    decode_request,
    decode_response,
    encode_ack,
    encode_client_count,
    encode_request,
)
from protocol.redis_wire import Broadcast, WireError, unpack
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.valkey import Valkey

Pair = tuple[Node, Node]


@pytest.fixture
async def pair(valkey: Valkey, names: Names) -> AsyncIterator[Pair]:
    nodes = await Node(valkey.url, names).start(), await Node(valkey.url, names).start()
    yield nodes
    for node in nodes:
        await node.stop()


async def test_servers_are_counted(pair: Pair) -> None:
    assert await pair[0].cluster.requests.server_count("/") == 2
    assert await pair[0].cluster.requests.server_count("/none") == 0


async def test_sockets_of_all_nodes_are_fetched_without_their_secrets(pair: Pair) -> None:
    a, b = pair
    await a.join("s1", "r")
    await b.join("s2", "r", "mute")
    await b.join("s3", "r", "q")
    await b.join("s4", "r", namespace="/chat")
    found = await a.cluster.requests.fetch_sockets("/", ("r",), ("mute",))
    assert found.missing == 0
    assert {socket.id for socket in found.values} == {"s1", "s3"}
    (other,) = [socket for socket in found.values if socket.id == "s3"]
    assert other.rooms == ("q", "r", "s3")
    assert other.data == {"sid": "s3"}
    assert "secret" not in str(other.handshake)


async def test_no_secret_of_a_handshake_is_ever_on_redis(
    pair: Pair, valkey: Valkey, names: Names
) -> None:
    heard: list[bytes] = []
    ready = asyncio.Event()

    def push(message: list[Any]) -> None:
        if message[0] == b"pmessage":
            heard.append(message[3])
        else:
            ready.set()

    link = await Server.of(valkey.url).open("spy", push)
    link.push_command("PSUBSCRIBE", f"{names[1].key}*")
    await ready.wait()
    a, b = pair
    await b.join("s1", "r")
    await a.cluster.requests.fetch_sockets("/")
    assert any(b'"s1"' in message for message in heard)
    assert not any(b"secret" in message for message in heard)
    link.close()


async def test_all_rooms(pair: Pair) -> None:
    a, b = pair
    await a.join("s1", "r")
    await b.join("s2", "q")
    found = await a.cluster.requests.all_rooms("/")
    assert (set(found.values), found.missing) == ({"s1", "s2", "r", "q"}, 0)


async def test_sockets_are_moved_and_cut_wherever_they_are(pair: Pair) -> None:
    a, b = pair
    requests = a.cluster.requests
    first, second = await a.join("s1", "r"), await b.join("s2", "r")
    third = await b.join("s3", "r", "stay")
    await requests.join("/", ("r",), ("new", "other"), ("stay",))
    await requests.leave("/", ("r",), ("r",), ("stay",))
    await until(lambda: "r" not in second.rooms and "r" not in first.rooms)
    assert first.rooms == {"s1", "new", "other"}
    assert second.rooms == {"s2", "new", "other"}
    assert third.rooms == {"s3", "r", "stay"}
    await requests.disconnect("/", ("new",), close=True)
    await until(lambda: a.sockets.disconnected and b.sockets.disconnected)
    assert a.sockets.disconnected == [("s1", True)]
    assert b.sockets.disconnected == [("s2", True)]


async def test_every_node_hears_which_tokens_are_revoked(
    pair: Pair, valkey: Valkey, names: Names
) -> None:
    """And finds the keys written by then; an older word never goes over a newer one."""
    a, b = pair
    line = Line(Server.of(valkey.url), "revoker")
    keys, channels = names
    newer = Revocation(reason="revoked", ttl_s=60, user_id="mina", before_ms=2000.5, jtis=("j1",))
    older = Revocation(reason="revoked", ttl_s=60, user_id="mina", before_ms=1000.0)
    await revoke(line, keys, channels, [newer, older])
    await until(lambda: len(a.sockets.revoked) == len(b.sockets.revoked) == 2)
    assert a.sockets.revoked == b.sockets.revoked == [newer, older]
    assert await line.call("GET", keys.revoked("mina")) == b"2000.500"
    assert await line.call("TTL", keys.blacklist("j1")) == 60
    await line.close()


@pytest.mark.parametrize("told", [None, 7, {}, {"reason": "x"}, {"reason": 7, "ttl_s": "x"}])
def test_what_revokes_nothing_is_refused(told: Any) -> None:
    with pytest.raises(WireError):
        decode_request(orjson.dumps({"type": 100, "revocation": told}))


async def test_servers_talk_to_servers(pair: Pair) -> None:
    a, b = pair
    await a.cluster.requests.server_side_emit("/", ["hello", 1])
    await until(lambda: b.sockets.served)
    assert b.sockets.served == [("/", ["hello", 1])]
    assert a.sockets.served == []
    found = await a.cluster.requests.server_side_ask("/", ["who", {"a": None}])
    assert found.missing == 0
    assert found.values == [{"from": "hub", "args": ["who", {"a": None}]}]


async def test_clients_of_all_nodes_are_asked(pair: Pair) -> None:
    a, b = pair
    for node, sid in ((a, "s1"), (b, "s2"), (b, "s3")):
        await node.join(sid, "r")
        node.sockets.answers[sid] = [sid.encode()]
    await b.join("s4", "other")
    asked = Broadcast(event="q", args=[b"\x00"], rooms=("r",))
    found = await a.cluster.requests.ask_clients(asked, 5)
    assert (sorted(found.values), found.missing) == ([b"s1", b"s2", b"s3"], 0)
    nobody = await a.cluster.requests.ask_clients(
        Broadcast(event="q", args=[], rooms=("empty",)), 5
    )
    assert (nobody.values, nobody.missing) == ([], 0)


async def test_clients_that_keep_silent_are_counted_as_missing(pair: Pair) -> None:
    a, b = pair
    await a.join("s1", "r")
    await b.join("s2", "r")
    b.sockets.answers["s2"] = ["yes"]
    found = await a.cluster.requests.ask_clients(Broadcast(event="q", args=[], rooms=("r",)), 0.3)
    assert (found.values, found.missing) == (["yes"], 1)


async def test_a_client_may_answer_before_its_server_has_counted(
    pair: Pair, line: Line, valkey: Valkey, names: Names
) -> None:
    """As of a Node server in a Redis Cluster, which sends each message by another node."""
    ready = asyncio.Event()

    def push(message: list[Any]) -> None:
        if message[0] != b"message":
            ready.set()
            return
        id_ = str(unpack(message[2])["requestId"])
        channel = names[1].response("/")
        for said in (encode_ack(id_, [1]), encode_client_count(id_, 2), encode_ack(id_, [2])):
            line.post("PUBLISH", channel, said)

    link = await Server.of(valkey.url).open("unordered", push)
    link.push_command("SUBSCRIBE", names[1].request("/"))
    await ready.wait()
    await line.link()
    asked = Broadcast(event="q", args=[], rooms=("r",))
    found = await pair[0].cluster.requests.ask_clients(asked, 5)
    assert (found.values, found.missing) == ([1, 2], 0)
    link.close()


async def test_a_silent_server_costs_a_time_out_and_the_rest_is_returned(
    pair: Pair, valkey: Valkey, names: Names
) -> None:
    a, b = pair
    await b.join("s1", "r")
    ready = asyncio.Event()
    link = await Server.of(valkey.url).open("silent", lambda push: ready.set())
    link.push_command("SUBSCRIBE", names[1].request("/"))
    await ready.wait()
    a.cluster.requests._timeout = 0.3
    found = await a.cluster.requests.fetch_sockets("/", ("r",))
    assert ([socket.id for socket in found.values], found.missing) == (["s1"], 1)
    link.close()


async def test_the_older_forms_are_answered(
    pair: Pair, line: Line, valkey: Valkey, names: Names
) -> None:
    a, b = pair
    socket = await a.join("s1", "r")
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    ready = asyncio.Event()

    def push(message: list[Any]) -> None:
        if message[0] == b"message":
            answers.put_nowait(message[2])
        else:
            ready.set()

    link = await Server.of(valkey.url).open("older", push)
    link.push_command("SUBSCRIBE", names[1].response("/"))
    await ready.wait()

    async def ask(body: dict[str, Any]) -> dict[str, Any]:
        await line.call("PUBLISH", names[1].request("/"), orjson.dumps(body))
        answer: dict[str, Any] = orjson.loads(await asyncio.wait_for(answers.get(), 5))
        return answer

    both = [await ask({"requestId": "1", "type": 0, "rooms": ["r"]})]
    both.append(orjson.loads(await asyncio.wait_for(answers.get(), 5)))
    assert {"requestId": "1", "sockets": ["s1"]} in both
    assert {"requestId": "1", "sockets": []} in both
    assert await ask({"requestId": "2", "type": 2, "sid": "s1", "room": "new"}) == {
        "requestId": "2"
    }
    assert "new" in socket.rooms
    await ask({"requestId": "3", "type": 3, "sid": "s1", "room": "new"})
    assert "new" not in socket.rooms
    await ask({"requestId": "4", "type": 4, "sid": "s1", "close": True})
    assert a.sockets.disconnected == [("s1", True)]
    assert b.sockets.disconnected == []
    link.close()


def test_captured_bytes() -> None:
    """Captured from the official adapter 8.3 (socketio.md §4.1)."""
    ack = bytes.fromhex("83a47479706509a9726571756573744964a649464d6d3635a67061636b6574a3616e73")
    response = decode_response(ack)
    assert (response.kind, response.request_id, response.data) == (Kind.ACK, "IFMm65", "ans")
    asked = Request(
        kind=Kind.BROADCAST,
        uid="u",
        request_id="r",
        broadcast=Broadcast(event="e", args=[1], rooms=("a",)),
        timeout=0.5,
    )
    assert unpack(encode_request(asked)) == {
        "uid": "u",
        "type": 7,
        "requestId": "r",
        "packet": {"type": 2, "data": ["e", 1], "nsp": "/"},
        "opts": {"rooms": ["a"], "except": [], "flags": {"timeout": 500}},
    }
    fetch = Request(kind=Kind.FETCH, uid="u", request_id="r", rooms=("a",), except_rooms=("b",))
    assert orjson.loads(encode_request(fetch)) == {
        "uid": "u",
        "type": 5,
        "requestId": "r",
        "opts": {"rooms": ["a"], "except": ["b"]},
    }
