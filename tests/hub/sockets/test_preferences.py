"""Preferences move all sockets of a person, on all nodes, and blocks keep people's events apart."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub.domain.questions.waves import broadcast_id
from hub.plumbing.settings.settings import Settings
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.sockets.conftest import JEJU, Client, Connect, Running, running, settle_in
from tests.hub.sockets.test_cluster import member_of
from tests.hub.sockets.test_main import is_about, urgent


@pytest.fixture
async def other(hub: Running, settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as one:
        yield one


async def rooms_are(hubs: tuple[Running, ...], *, within: set[str], without: set[str]) -> None:
    """Until minji's sockets are so, on each of these nodes."""
    async with asyncio.timeout(10):
        for one in hubs:
            while True:
                rooms = {str(name) for name in member_of(one, "minji").room_names}
                if within <= rooms and not without & rooms:
                    break
                await asyncio.sleep(0.02)


def place_rooms(hub: Running) -> set[str]:
    rooms = {str(name) for name in member_of(hub, "minji").room_names}
    return {room for room in rooms if room.startswith(("cell:", "region:"))}


def heard(client: Client, name: str) -> list[str]:
    return [args[0]["questionId"] for event, args in client.heard if event == name]


async def test_who_wants_no_urgent_questions_leaves_cell_and_region(
    hub: Running, other: Running, connect: Connect
) -> None:
    await settle_in(hub, "minji")
    clients = [await connect(hub, "minji"), await connect(other, "minji")]
    places = place_rooms(hub)
    assert len(places) == 2
    await verbs.prefer(hub.domain, "minji", urgent_enabled=False)
    await rooms_are((hub, other), within=set(), without=places)
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    late = await connect(other, "minji")
    for client in (*clients, late):
        await client.call("inbox:sync", {})
        assert heard(client, "question:urgent") == []
    await verbs.prefer(other.domain, "minji", urgent_enabled=True)
    for client in (*clients, late):  # who enters later is told what is open
        alert = await client.next("question:urgent", is_about(asked.id))
        assert alert["id"] == broadcast_id(asked.id, 1)


async def test_a_mute_holds_at_once_and_everywhere(
    hub: Running, other: Running, connect: Connect
) -> None:
    code = hub.domain.atlas.neighbourhood_of(*JEJU)
    assert code is not None
    await settle_in(hub, "minji")
    await settle_in(hub, "jiho")
    clients = [await connect(hub, "minji"), await connect(other, "minji")]
    neighbour = await connect(hub, "jiho")
    await verbs.prefer(hub.domain, "minji", muted_neighbourhoods=(code,))
    await rooms_are((hub, other), within={f"mute:{code}"}, without=set())
    first = await verbs.ask(hub.domain, "traveller", urgent())
    await neighbour.next("question:urgent", is_about(first.id))
    await verbs.prefer(hub.domain, "minji", muted_neighbourhoods=())
    await rooms_are((hub, other), within=set(), without={f"mute:{code}"})
    second = await verbs.ask(hub.domain, "wanderer", urgent())
    for client in clients:
        await client.next("question:urgent", is_about(second.id))
        assert heard(client, "question:urgent") == [second.id]


async def test_without_consent_the_sockets_leave_the_cell(
    hub: Running, other: Running, connect: Connect
) -> None:
    await settle_in(hub, "minji")
    await connect(hub, "minji")
    await connect(other, "minji")
    places = place_rooms(hub)
    await verbs.introduce(other.domain, "minji", location_consent=False)
    await rooms_are((hub, other), within={"region:default"}, without=places)


async def test_a_followed_hashtag_is_a_room_of_all_ones_sockets(
    hub: Running, other: Running, connect: Connect
) -> None:
    here, there = await connect(hub, "minji"), await connect(other, "minji")
    answer = await here.call("tag:follow", {"hashtag": "#ＣＡＦＥ"})
    assert answer == {"ok": True, "hashtags": ["cafe"]}
    assert (await here.call("tag:follow", {"hashtag": "café"}))["hashtags"] == ["cafe", "café"]
    await rooms_are((hub, other), within={"tag:cafe", "tag:café"}, without=set())
    asked = await verbs.ask(
        other.domain, "traveller", Ask(title="A", content="B", hashtags=("Cafe", "café"))
    )
    for client in (here, there):
        await client.next("question:created", is_about(asked.id))
        await client.call("inbox:sync", {})
        assert heard(client, "question:created") == [asked.id], "once, whatever it follows of it"
    assert (await there.call("tag:unfollow", {"hashtag": "CAFE"}))["hashtags"] == ["café"]
    await rooms_are((hub, other), within={"tag:café"}, without={"tag:cafe"})
    again = await connect(hub, "minji", ready=False)
    assert "tag:café" in (await again.next("ready"))["rooms"]


async def test_twenty_hashtags_at_most_and_each_shows_something(
    hub: Running, connect: Connect
) -> None:
    client = await connect(hub, "minji")
    await verbs.prefer(hub.domain, "minji", followed_hashtags=tuple(f"t{n}" for n in range(20)))
    refused = await client.call("tag:follow", {"hashtag": "one more"})
    assert refused["error"]["code"] == "ROOM_LIMIT"
    assert (await client.call("tag:follow", {"hashtag": "t3"}))["ok"] is True
    for hashtag in ("", "#", "\u200b", "x" * 51):
        refused = await client.call("tag:follow", {"hashtag": hashtag})
        assert refused["error"]["code"] == "INVALID_PAYLOAD"


@pytest.mark.parametrize(("who", "whom"), [("minji", "traveller"), ("traveller", "minji")])
async def test_between_people_apart_no_event_passes(
    hub: Running, other: Running, connect: Connect, who: str, whom: str
) -> None:
    for name in ("minji", "jiho", "traveller"):
        await settle_in(hub, name)
    minji, jiho = await connect(hub, "minji"), await connect(other, "jiho")
    await verbs.block(hub.domain, who, whom)
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    await jiho.next("question:urgent", is_about(asked.id))
    await jiho.next("question:created", is_about(asked.id))
    late = await connect(other, "minji")
    await minji.call("question:join", {"questionId": asked.id})
    await verbs.answer(hub.domain, "traveller", asked.id, "I found one myself")
    for client in (minji, late):
        await client.call("inbox:sync", {})
        assert heard(client, "question:urgent") == heard(client, "question:created") == []
    theirs = await verbs.ask(hub.domain, "minji", Ask(title="A", content="B"))
    await verbs.answer(hub.domain, "traveller", theirs.id, "Here")
    given = await verbs.answer(hub.domain, "jiho", theirs.id, "Here, too")
    assert (await minji.next("answer:created"))["answerId"] == given.id
