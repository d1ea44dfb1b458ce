"""Coming back: through the same node or another, with everything that was missed, as oneself."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from hub.plumbing.settings.settings import Settings
from hub.sockets.guest import guest_of, left_of
from protocol.events import Emit
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.sockets.conftest import Client, Connect, Dial, Running, running


async def tell(hub: Running, user_id: str, number: int) -> None:
    emit = Emit(id=str(uuid4()), event="news", rooms=(f"user:{user_id}",), data={"n": number})
    await hub.domain.outbox._publish([emit])


def numbers(client: Client) -> list[int]:
    return [args[0]["n"] for name, args in client.heard if name == "news"]


def offset_of(client: Client) -> str | None:
    stamps = [args[1] for _, args in client.heard if len(args) > 1]
    return str(stamps[-1]) if stamps else None


async def drop(client: Client) -> None:
    """The connection breaks without a word of Socket.IO."""
    await client.sio.eio.ws.close()
    await client.next("(disconnect)")


async def back(connect: Connect, hub: Running, client: Client, user_id: str, **more: Any) -> Client:
    """As the stock client comes back: with pid and the last offset it has seen."""
    pid = (await client.next("ready"))["pid"]
    offset = offset_of(client)
    auth = {"recovery": True, "pid": pid, **({} if offset is None else {"offset": offset}), **more}
    return await connect(hub, user_id, **auth)


@pytest.fixture(params=["same node", "other node"])
def elsewhere(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "other node")


async def test_what_was_missed_comes_once_and_in_order(
    hub: Running, settings: Settings, connect: Connect, elsewhere: bool
) -> None:
    async with running(settings) as second:
        client = await connect(hub, "minji", recovery=True)
        sid = (await client.next("ready"))["sid"]
        for number in (1, 2):
            await tell(hub, "minji", number)
        await client.some("news", 2)
        await drop(client)
        for number in (3, 4, 5):
            await tell(hub, "minji", number)
        again = await back(connect, second if elsewhere else hub, client, "minji")
        await tell(second, "minji", 6)
        await again.some("news", 4)
        ready = await again.next("ready")
        assert ready["recovered"] is True
        assert ready["sid"] == sid == again.sio.get_sid()
        assert numbers(again) == [3, 4, 5, 6]
        assert again.names()[:4] == ["news", "news", "news", "ready"]
        await again.close()


async def test_nothing_heard_before_the_drop(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji", recovery=True)
    await drop(client)
    await tell(hub, "minji", 1)
    again = await back(connect, hub, client, "minji")
    assert (await again.next("ready"))["recovered"] is True
    assert numbers(again) == [1]


async def test_ten_times_in_a_row(hub: Running, settings: Settings, connect: Connect) -> None:
    """The client keeps the last offset it has seen, over drops between which it heard nothing."""
    async with running(settings) as second:
        client = await connect(hub, "minji", recovery=True)
        heard: list[int] = []
        known: dict[str, str] = {}
        for number in range(10):
            if number % 3 != 2:
                await tell(hub, "minji", number)
            await drop(client)
            heard += numbers(client)
            if (offset := offset_of(client)) is not None:
                known["offset"] = offset
            client = await back(connect, (hub, second)[number % 2], client, "minji", **known)
            assert (await client.next("ready"))["recovered"] is True
        await tell(hub, "minji", 10)
        await client.next("news", lambda one: one["n"] == 10)
        assert heard + numbers(client) == [0, 1, 3, 4, 6, 7, 9, 10]
        await client.close()


async def test_a_half_open_predecessor_lets_go(
    hub: Running, settings: Settings, connect: Connect, elsewhere: bool
) -> None:
    async with running(settings) as second:
        client = await connect(hub, "minji", recovery=True)
        sid = (await client.next("ready"))["sid"]
        await tell(hub, "minji", 1)
        await client.next("news")
        again = await back(connect, second if elsewhere else hub, client, "minji")
        assert (await again.next("ready"))["recovered"] is True
        assert again.sio.get_sid() == sid
        await client.next("(disconnect)")
        await tell(hub, "minji", 2)
        await again.next("news")
        assert numbers(client) == [1]
        assert numbers(again) == [2]
        assert await hub.domain.presence.online(["minji"]) == {"minji"}
        await again.close()


async def test_another_persons_pid_is_refused(hub: Running, connect: Connect) -> None:
    victim = await connect(hub, "minji", recovery=True)
    ready = await victim.next("ready")
    await drop(victim)
    await tell(hub, "minji", 1)
    thief = await connect(hub, "mallory", recovery=True, pid=ready["pid"])
    told = await thief.next("ready")
    assert told["recovered"] is False
    assert told["sid"] != ready["sid"]
    assert told["pid"] != ready["pid"]
    assert "user:minji" not in told["rooms"]
    assert numbers(thief) == []
    again = await back(connect, hub, victim, "minji")
    assert (await again.next("ready"))["recovered"] is True
    assert numbers(again) == [1]


@pytest.mark.parametrize(
    "offset",
    ["forged", "0000000000001-000000000001", "9999999999999-999999999999", 7, "x" * 5000, {"a": 1}],
)
async def test_a_forged_offset_is_told_honestly(
    hub: Running, connect: Connect, offset: Any
) -> None:
    client = await connect(hub, "minji", recovery=True)
    await tell(hub, "minji", 1)
    await client.next("news")
    pid = (await client.next("ready"))["pid"]
    await drop(client)
    again = await connect(hub, "minji", recovery=True, pid=pid, offset=offset)
    ready = await again.next("ready")
    claims_nothing = not isinstance(offset, str) or len(offset) > 64 or offset.startswith("0000")
    assert ready["recovered"] is claims_nothing
    if not claims_nothing:
        assert ready["pid"] != pid
    await tell(hub, "minji", 2)
    await again.next("news", lambda one: one["n"] == 2)


async def test_a_goodbye_ends_the_session(hub: Running, dial: Dial, connect: Connect) -> None:
    """The stock Python client closes before its DISCONNECT is out, so this is said by hand."""
    wire = await dial(hub)
    await wire.send("40" + json.dumps({"token": hub.token("minji")}))
    pid = json.loads((await wire.starting("40{"))[2:])["pid"]
    (member,) = hub.door.node.guests.values()
    await wire.send("41")
    await left_of(guest_of(member))
    again = await connect(hub, "minji", recovery=True, pid=pid)
    assert (await again.next("ready"))["recovered"] is False


async def test_joined_rooms_come_back_where_still_allowed(hub: Running, connect: Connect) -> None:
    kept = await verbs.ask(hub.domain, "traveller", Ask(title="A", content="B"))
    gone = await verbs.ask(hub.domain, "traveller", Ask(title="C", content="D"))
    code = hub.domain.atlas.neighbourhoods[0].code
    client = await connect(hub, "minji", recovery=True)
    await client.call("neighbourhood:join", {"code": code})
    for question in (kept, gone):
        await client.call("question:join", {"questionId": question.id})
    await drop(client)
    await hub.domain.pool.execute("UPDATE questions SET status = 'deleted' WHERE id = $1", gone.id)
    again = await back(connect, hub, client, "minji")
    ready = await again.next("ready")
    assert ready["recovered"] is True
    assert {f"neighbourhood:{code}", f"question:{kept.id}"} <= set(ready["rooms"])
    assert f"question:{gone.id}" not in ready["rooms"]


@pytest.mark.fault(3)
async def test_a_replay_that_ended_twice_in_the_same_way_ends_in_a_new_session(
    hub: Running, connect: Connect, record_property: Callable[[str, object], None]
) -> None:
    """Three returns from one offset: its client dies of what is replayed there. The third one is
    told `recovered: false`, and goes on."""
    client = await connect(hub, "minji", recovery=True)
    await tell(hub, "minji", 1)
    await client.next("news")
    await drop(client)
    await tell(hub, "minji", 2)
    told = []
    for _ in range(3):
        again = await back(connect, hub, client, "minji")
        ready = await again.next("ready")
        told.append(ready["recovered"])
        assert numbers(again) == ([2] if ready["recovered"] else [])
        await drop(again)
    assert told == [True, True, False]
    record_property("seen", f"recovered {told}")
    fresh = await back(connect, hub, again, "minji", offset=offset_of(client))
    assert (await fresh.next("ready"))["recovered"] is True
    await tell(hub, "minji", 3)
    assert (await fresh.next("news"))["n"] == 3


@pytest.mark.fault(3)
async def test_returns_without_anything_missed_are_recovered_for_ever(
    hub: Running, connect: Connect
) -> None:
    """A network that flaps is no client that dies of its replay."""
    client = await connect(hub, "minji", recovery=True)
    await tell(hub, "minji", 1)
    await client.next("news")
    await drop(client)
    for _ in range(5):
        again = await back(connect, hub, client, "minji")
        assert (await again.next("ready"))["recovered"] is True
        await drop(again)
