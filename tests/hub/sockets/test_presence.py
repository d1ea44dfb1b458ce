"""How many people are in a room, over all nodes: asked, told, and who watches a stream."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from hub.domain.people import sessions
from hub.plumbing.settings.settings import Settings
from protocol.events import Emit
from protocol.rest.rooms import BroadcastRequest
from tests import verbs
from tests.hub.sockets.conftest import Client, Connect, Running, running, settle_in, with_figures

QUESTION = {"questionId": "q1"}


@pytest.fixture
async def other(hub: Running, settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as one:
        yield one


@pytest.fixture
async def question(hub: Running) -> str:
    await settle_in(hub, "asker")
    await hub.domain.pool.execute(
        "INSERT INTO questions (id, user_id, title, content, region_code, urgency, status,"
        " created_at, updated_at)"
        " VALUES ('q1', 'asker', 't', 'c', 'jeju', 'normal', 'active', now(), now())"
    )
    return "question:q1"


def counted(room: str, count: int) -> Any:
    return lambda data: (data["room"], data["count"]) == (room, count)


async def test_everybody_in_a_room_hears_how_many_they_are(
    hub: Running, other: Running, connect: Connect, question: str
) -> None:
    minji, jiho = await connect(hub, "minji"), await connect(other, "jiho")
    again = await connect(hub, "jiho")  # a second device of the same person
    for client in (minji, jiho, again):
        assert (await client.call("question:join", QUESTION))["ok"]
    for client in (minji, jiho):
        update = await client.next("presence:update", counted(question, 2))
        assert set(update) == {"id", "room", "count"}
    assert await minji.call("presence:get", {"room": question}) == {"ok": True, "count": 2}
    await jiho.call("question:leave", QUESTION)
    assert (await minji.call("presence:get", {"room": question}))["count"] == 2
    await again.close()
    await minji.next("presence:update", counted(question, 1))


async def test_a_burst_is_told_once_a_second(hub: Running, connect: Connect, question: str) -> None:
    first = await connect(hub, "first")
    await first.call("question:join", QUESTION)
    start = time.monotonic()
    for number in range(12):
        await (await connect(hub, f"p{number}")).call("question:join", QUESTION)
    await first.next("presence:update", counted(question, 13))
    seconds = time.monotonic() - start
    updates = [args[0] for name, args in first.heard if name == "presence:update"]
    told = [update["count"] for update in updates if update["room"] == question]
    assert told == sorted(set(told)), "each count once, growing"
    assert len(told) <= seconds + 2


async def test_few_people_of_a_neighbourhood_are_nobody(hub: Running, connect: Connect) -> None:
    clients = [await connect(hub, f"p{number}") for number in range(6)]
    room = (await clients[0].call("neighbourhood:join", {"code": "ildo2"}))["room"]
    for client in clients[1:4]:
        await client.call("neighbourhood:join", {"code": "ildo2"})
    assert (await clients[0].call("presence:get", {"room": room}))["count"] == 0
    for client in clients[4:]:
        await client.call("neighbourhood:join", {"code": "ildo2"})
    assert (await clients[0].call("presence:get", {"room": room}))["count"] == 5
    await clients[0].next("presence:update", counted(room, 5))
    assert not [a for name, a in clients[0].heard if name == "presence:update" if a[0]["count"] % 5]


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("user:minji", "FORBIDDEN"),
        ("mute:ildo2", "FORBIDDEN"),
        ("neighbourhood:ildo2", "FORBIDDEN"),
        ("no such kind", "FORBIDDEN"),
        ("", "INVALID_PAYLOAD"),
    ],
)
async def test_other_rooms_are_not_counted_for_anybody(
    hub: Running, connect: Connect, room: str, code: str
) -> None:
    client = await connect(hub, "minji")
    answer = await client.call("presence:get", {"room": room})
    assert (answer["ok"], answer["error"]["code"]) == (False, code)


async def test_nobody_hears_how_many_are_in_a_cell(hub: Running, connect: Connect) -> None:
    await settle_in(hub, "minji")
    client = await connect(hub, "minji")
    names = [str(r) for m in hub.door.node.guests.values() for r in m.room_names]
    (cell,) = [name for name in names if name.startswith("cell:")]
    assert (await client.call("presence:get", {"room": cell}))["error"]["code"] == "FORBIDDEN"
    assert not [room for _, room in hub.door.node.told if room.startswith(("cell:", "user:"))]


# --- viewers of a stream -------------------------------------------------------------------------


class Spectator(Client):
    """A stock client in /streaming alone."""

    def __init__(self) -> None:
        super().__init__()
        self.sio.on("*", self._hear, namespace="/streaming")
        self.sio.on("disconnect", self._gone, namespace="/streaming")

    async def watch(self, hub: Running, user_id: str, stream: str | None, **auth: Any) -> Any:
        auth = {"token": hub.token(user_id), "recovery": False, **auth}
        await self.sio.connect(
            hub.url, auth=auth, namespaces=["/streaming"], transports=["websocket"]
        )
        return await self.ask("stream:viewer:join", stream) if stream else None

    async def ask(self, event: str, stream: str) -> Any:
        return await self.sio.call(event, {"streamKey": stream}, namespace="/streaming", timeout=10)


@pytest.fixture
async def spectators() -> AsyncIterator[list[Spectator]]:
    spectators = [Spectator() for _ in range(3)]
    yield spectators
    await asyncio.gather(*(one.close() for one in spectators))


def viewers(count: int) -> Any:
    return lambda data: (data["streamKey"], data["viewers"]) == ("s", count)


async def test_viewers_are_the_people_of_streaming_on_all_nodes(
    hub: Running, other: Running, connect: Connect, spectators: list[Spectator]
) -> None:
    a, b, c = spectators
    shopper = await connect(hub, "shopper")
    assert (await shopper.call("join:stream", {"streamKey": "s"}))["viewers"] == 0
    assert await a.watch(hub, "minji", "s") == {"ok": True, "viewers": 1}
    assert await b.watch(other, "jiho", "s") == {"ok": True, "viewers": 2}
    assert await c.watch(other, "jiho", "s") == {"ok": True, "viewers": 2}
    for one in (a, b):
        await one.next("stream:viewer:count", viewers(2))
    await shopper.next("presence:update", counted("stream:s", 2))
    assert (await shopper.call("join:stream", {"streamKey": "s"}))["viewers"] == 2
    assert (await b.ask("stream:viewer:leave", "s"))["viewers"] == 2
    await c.close()
    await a.next("stream:viewer:count", viewers(1))
    left = await shopper.call("leave:stream", {"streamKey": "s"})
    assert left == {"ok": True, "room": "stream:s", "viewers": 1}


async def test_products_reach_who_joined_the_stream(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "shopper")
    await client.call("join:stream", {"streamKey": "s"})
    shop = await sessions.service(hub.domain, await sessions.add_service(hub.domain, "shop"))
    form = BroadcastRequest(event="live:product:soldout", data={"productId": "p1"})
    await verbs.broadcast(hub.domain, shop, "stream:s", form)
    heard = await client.next("live:product:soldout")
    assert (heard["streamKey"], heard["data"]) == ("s", {"productId": "p1"})


async def test_streaming_asks_for_the_token_too(hub: Running, spectators: list[Spectator]) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        await spectators[0].watch(hub, "minji", None, token="forged")
    await spectators[1].watch(hub, "minji", None)
    answer = await spectators[1].sio.call("inbox:sync", {}, namespace="/streaming", timeout=10)
    assert answer["error"]["code"] == "INVALID_PAYLOAD", "an event of another namespace"


async def test_a_persons_limit_holds_in_each_namespace(
    settings: Settings, spectators: list[Spectator]
) -> None:
    async with running(with_figures(settings, max_per_user=2)) as hub:
        for one in spectators:
            await one.watch(hub, "minji", "s")
        await spectators[0].next("(disconnect)")
        assert await hub.domain.presence.online(["minji"]) == set(), "no alert would reach them"


async def test_a_viewer_comes_back_to_what_was_missed(
    hub: Running, other: Running, spectators: list[Spectator]
) -> None:
    """Recovery is per namespace: pid and offset of /streaming, on another node."""
    watcher, back, _ = spectators
    await watcher.watch(hub, "minji", "s", recovery=True)
    (member,) = hub.door.node.guests.values()
    pid = member.data.session.pid
    sid = member.sid
    hub.door.node.server.cut(member)
    await watcher.next("(disconnect)")
    news = Emit(
        id="while-away",
        event="news",
        rooms=("stream:s",),
        data={"id": "while-away"},
        namespace="/streaming",
    )
    async with other.domain.outbox.change() as change:
        change.tell("s", news)
    await back.watch(other, "minji", None, recovery=True, pid=pid)
    assert (await back.next("news"))["id"] == "while-away"
    assert back.sio.get_sid("/streaming") == sid
