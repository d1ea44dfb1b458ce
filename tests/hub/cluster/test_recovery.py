"""A client that comes back to any node gets what it missed, all of it, or is told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.cluster.line import Line
from hub.cluster.recovery import Replay
from hub.cluster.replay import Refusal
from hub.cluster.sessions import PER_USER, Session
from protocol.events import Emit
from protocol.names import Keys
from protocol.redis_wire import Broadcast, encode_open
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.valkey import Valkey


@pytest.fixture
async def pair(valkey: Valkey, names: Names) -> AsyncIterator[tuple[Node, Node]]:
    nodes = await Node(valkey.url, names).start(), await Node(valkey.url, names).start()
    yield nodes
    for node in nodes:
        await node.stop()


Pair = tuple[Node, Node]


def emit(id_: str, *rooms: str, **more: Any) -> Emit:
    return Emit(id=id_, event="x", rooms=rooms, data={"id": id_}, **more)


async def publish(node: Node, *emits: Emit) -> None:
    await node.cluster.emitter.publish(emits)


async def open_(node: Node, pid: str = "p1", user: str = "mina", *rooms: str) -> Session:
    return await node.cluster.sessions.open(
        pid=pid, user=user, sid=f"sid-{pid}", namespace="/", token="t1", rooms=rooms
    )


async def claim(node: Node, pid: str = "p1", user: str = "mina", token: str = "t2") -> Session:
    found = await node.cluster.sessions.claim(pid=pid, user=user, namespace="/", token=token)
    assert found is not None
    return found[0]


async def replay(node: Node, session: Session, offset: Any = None) -> Replay | Refusal:
    node.sockets.add(session.sid, *session.rooms)
    return await node.cluster.recovery.replay(session, offset, list(session.rooms))


def ids(found: Replay | Refusal) -> list[str]:
    assert isinstance(found, Replay), found
    return [broadcast.args[0]["id"] for broadcast in found.events]


async def test_another_node_replays_what_was_missed_and_nothing_else(pair: Pair) -> None:
    a, b = pair
    await publish(a, emit("before", "r"))
    await open_(a, "p1", "mina", "r", "q", "mute")
    await publish(
        a,
        emit("1", "r"),
        emit("2", "q", "r", "elsewhere"),
        emit("3", "elsewhere"),
        emit("4"),
        emit("5", "r", except_rooms=("mute",)),
        emit("6", *"abcdef", "q"),
        emit("7", *"abcdef"),
        emit("8", "sid-p1"),
        emit("9", "r", klass="volatile"),
        emit("10", "r", namespace="/chat"),
    )
    found = await replay(b, await claim(b))
    assert ids(found) == ["1", "2", "4", "6", "8"]


async def test_it_goes_on_from_the_clients_offset(pair: Pair) -> None:
    a, b = pair
    session = await open_(a, "p1", "mina", "r")
    socket = await a.join("sid-p1", "r")
    await publish(a, emit("1", "r"), emit("2", "r"))
    await a.heard_all()
    await a.cluster.sessions.park(session)
    await publish(a, emit("3", "r"))
    found = await replay(b, await claim(b), socket.received[0].offset)
    assert ids(found) == ["2", "3"]
    assert isinstance(found, Replay)
    assert found.position == found.events[-1].offset


async def test_rooms_count_from_when_they_were_joined(pair: Pair) -> None:
    a, b = pair
    session = await open_(a, "p1", "mina", "r")
    await publish(a, emit("1", "r"), emit("2", "late"), emit("3", "r", except_rooms=("late",)))
    assert await a.cluster.sessions.move(session, join=["late"])
    await publish(a, emit("4", "late"), emit("5", "r", except_rooms=("late",)))
    assert await a.cluster.sessions.move(session, join=["late", "gone"])
    await publish(a, emit("6", "gone"), emit("7", "late"))
    assert await a.cluster.sessions.move(session, leave=["gone"])
    found = await replay(b, await claim(b))
    assert ids(found) == ["1", "3", "4", "7"]


async def test_only_the_same_person_in_the_same_namespace_may_come_back(pair: Pair) -> None:
    a, b = pair
    await open_(a, "p1", "mina", "r")
    sessions = b.cluster.sessions
    assert await sessions.claim(pid="p1", user="eve", namespace="/", token="t") is None
    assert await sessions.claim(pid="p1", user="mina", namespace="/chat", token="t") is None
    assert await sessions.claim(pid="p2", user="mina", namespace="/", token="t") is None
    assert (await claim(b)).sid == "sid-p1"


async def test_what_the_client_or_the_server_ended_is_over(pair: Pair) -> None:
    a, b = pair
    await a.cluster.sessions.close(await open_(a))
    sessions = b.cluster.sessions
    assert await sessions.claim(pid="p1", user="mina", namespace="/", token="t") is None


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        ("", Refusal.MALFORMED),
        ("text", Refusal.MALFORMED),
        (12, Refusal.MALFORMED),
        ({"a": []}, Refusal.MALFORMED),
        ("9" * 13 + "-" + "0" * 12, Refusal.EPOCH),
        ("1" * 100_000, Refusal.MALFORMED),
        ("٣" * 13 + "-" + "٣" * 12, Refusal.MALFORMED),
    ],
)
async def test_forged_offsets_are_refused(pair: Pair, offset: Any, reason: Refusal) -> None:
    a, b = pair
    await open_(a, "p1", "mina", "r")
    assert await replay(b, await claim(b), offset) is reason


async def test_an_offset_nobody_was_given_is_refused(pair: Pair) -> None:
    a, b = pair
    session = await open_(a, "p1", "mina", "r")
    ahead = session.at[:-12] + "999999999999"
    assert await replay(b, await claim(b), ahead) is Refusal.AHEAD


async def test_an_offset_from_before_the_session_counts_as_none(pair: Pair) -> None:
    a, b = pair
    await publish(a, emit("1", "r"))
    await open_(a, "p1", "mina", "r")
    await publish(a, emit("2", "r"))
    found = await replay(b, await claim(b), "0000000000001-000000000005")
    assert ids(found) == ["2"]


async def test_a_log_that_no_longer_reaches_back_is_refused(pair: Pair) -> None:
    a, b = pair
    await open_(a, "p1", "mina", "busy", "quiet")
    await publish(a, *(emit(f"n{n}", "busy") for n in range(300)))
    assert await replay(b, await claim(b)) is Refusal.TRIMMED


async def test_more_than_one_log_may_hold_is_refused(pair: Pair) -> None:
    a, b = pair
    await open_(a, "p1", "mina", "r1", "r2")
    await publish(a, *(emit(f"n{n}", f"r{n % 2 + 1}") for n in range(110)))
    assert await replay(b, await claim(b)) is Refusal.TOO_MANY


async def test_after_a_new_epoch_old_positions_are_refused(
    own_valkey: Valkey, names: Names
) -> None:
    a = await Node(own_valkey.url, names).start()
    await open_(a, "p1", "mina", "r")
    await publish(a, emit("1", "r"))
    own_valkey.kill()
    own_valkey.start()
    await until(lambda: a.cluster.bus.reconnects and a.cluster.bus.ready)
    assert await replay(a, await claim(a)) is Refusal.EPOCH
    await a.stop()


async def test_the_predecessor_lets_go_and_can_do_no_harm_any_more(pair: Pair) -> None:
    a, b = pair
    session = await open_(a, "p1", "mina", "r")
    taken = await b.cluster.sessions.claim(pid="p1", user="mina", namespace="/", token="t9")
    assert taken is not None
    assert taken[1] == a.cluster.sessions.owner("t1")
    await until(lambda: a.sockets.evicted == [a.cluster.sessions.owner("t1")])
    assert not await a.cluster.sessions.move(session, join=["x"], leave=["r"])
    await a.cluster.sessions.close(session)
    await a.cluster.sessions.park(session)
    again = await claim(a, token="t10")
    assert set(again.rooms) == {"r"}


async def test_a_parked_session_has_no_predecessor(pair: Pair) -> None:
    a, b = pair
    await a.cluster.sessions.park(await open_(a, "p1", "mina", "r"))
    taken = await b.cluster.sessions.claim(pid="p1", user="mina", namespace="/", token="t")
    assert taken is not None
    assert taken[1] == ""
    assert a.sockets.evicted == []


async def test_sessions_end_by_themselves(pair: Pair, line: Line, names: Names) -> None:
    a = pair[0]
    keys: Keys = names[0]
    session = await open_(a, "p1", "mina", "r")
    lease = await line.call("TTL", keys.session("p1"))
    assert 118 <= lease <= 120, "window 30 s and PRESENCE_TTL 90 s"
    await line.call("EXPIRE", keys.session("p1"), 5)
    await a.cluster.sessions.renew()
    assert await line.call("TTL", keys.session("p1")) >= 118
    await a.cluster.sessions.park(session)
    assert 28 <= await line.call("TTL", keys.session("p1")) <= 30
    await a.cluster.sessions.renew()
    assert await line.call("TTL", keys.session("p1")) <= 30, "nobody renews a parked one"


async def test_a_person_can_be_taken_out_of_a_room_while_away(pair: Pair) -> None:
    a, b = pair
    await a.cluster.sessions.park(await open_(a, "p1", "mina", "chat", "r"))
    await open_(a, "p2", "jun", "chat")
    await publish(a, emit("1", "chat"), emit("2", "r"))
    await b.cluster.sessions.remove("mina", "/", "chat")
    await b.cluster.sessions.remove("mina", "/chat", "r")
    assert ids(await replay(b, await claim(b))) == ["2"]
    assert ids(await replay(b, await claim(b, "p2", "jun"))) == ["1"]


async def test_live_events_follow_the_replay_without_gap_or_repeat(pair: Pair) -> None:
    """What passes the bus before `replay` returns is at most `position`, all later is above."""
    a, b = pair
    await open_(a, "p1", "mina", "r")
    session = await claim(b)
    socket = b.sockets.add(session.sid, "r")
    await publish(a, *(emit(f"a{n}", "r") for n in range(10)))
    found = await b.cluster.recovery.replay(session, None, ["r"])
    assert isinstance(found, Replay)
    held = len(socket.received)
    assert all(broadcast.offset <= found.position for broadcast in socket.received)
    await publish(a, *(emit(f"b{n}", "r") for n in range(10)))
    await b.heard_all()
    live = socket.received[held:]
    assert all(broadcast.offset > found.position for broadcast in live)
    assert ids(found) + [broadcast.args[0]["id"] for broadcast in live] == [
        *(f"a{n}" for n in range(10)),
        *(f"b{n}" for n in range(10)),
    ]


@pytest.mark.fault(3)
async def test_a_replay_that_ended_twice_in_the_same_way_is_not_tried_again(pair: Pair) -> None:
    """Its client came back from where it stood: something there ends its connection."""
    a, b = pair
    moved_on = ""
    await a.cluster.sessions.park(await open_(a, "p1", "mina", "r"))
    await publish(a, emit("1", "r"), emit("2", "r"))
    for node, token in ((b, "t2"), (a, "t3")):
        session = await claim(node, token=token)
        found = await replay(node, session)
        assert ids(found) == ["1", "2"]
        assert isinstance(found, Replay)
        moved_on = found.events[0].offset
        await node.cluster.sessions.note_replay(session, found.since)
        await node.cluster.sessions.park(session)
    assert await replay(b, await claim(b, token="t4")) is Refusal.STUCK
    assert ids(await replay(a, await claim(a, token="t5"), moved_on)) == ["2"]


@pytest.mark.fault(3)
async def test_a_log_with_what_nobody_can_decode_is_refused_at_once(pair: Pair, line: Line) -> None:
    """As one of an older version may hold it."""
    a, b = pair
    session = await open_(a, "p1", "mina", "r")
    keys = b.cluster.emitter._keys
    await publish(a, emit("1", "r"))
    [(number, [_, before, _, message])] = await line.call(
        "XRANGE", keys.room_log("/", "r"), "-", "+"
    )
    poison = Broadcast(event="x", args=[{str(n): b"1" for n in range(11)}], rooms=("r",))
    [(_, packed)] = encode_open(poison)
    await line.call("DEL", keys.room_log("/", "r"))
    await line.call("XADD", keys.room_log("/", "r"), number, "p", before, "m", packed)
    assert message != packed
    assert await replay(b, session) is Refusal.UNREADABLE


@pytest.mark.fault(28)
async def test_a_persons_sessions_are_trimmed_and_capped(
    pair: Pair, line: Line, names: Names
) -> None:
    a, keys = pair[0], names[0]
    await line.call("ZADD", keys.sessions("mina"), 1, "long-gone")
    live = await open_(a, "live", "mina", "r")
    assert await line.call("ZRANGE", keys.sessions("mina"), 0, -1) == [b"live"]
    for number in range(PER_USER + 5):
        await a.cluster.sessions.park(await open_(a, f"p{number}", "mina", "r"))
    assert await line.call("ZCARD", keys.sessions("mina")) == PER_USER
    assert await line.call("EXISTS", keys.session("p0")) == 0
    assert await line.call("EXISTS", keys.session(f"p{PER_USER + 4}")) == 1
    await a.cluster.sessions.renew()
    assert live.pid.encode() in await line.call("ZRANGE", keys.sessions("mina"), 0, -1)
