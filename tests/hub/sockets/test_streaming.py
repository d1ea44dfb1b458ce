"""A live shop: its products in /, its viewers in /streaming, counted rightly and seldom told."""

import asyncio
import time
from typing import Any

import pytest

from hub.cluster.line import Line
from hub.cluster.presence import Presence
from hub.cluster.server import Server
from hub.domain.people import sessions
from hub.plumbing.settings.settings import Settings
from hub.sockets.assembly import TELLING_S
from protocol.errors import HubError
from protocol.rest.rooms import BroadcastRequest
from tests import verbs
from tests.hub.sockets.conftest import Connect, Running, running, with_figures
from tests.hub.sockets.test_presence import Spectator, other, spectators, viewers

__all__ = ["other", "spectators"]

PRODUCTS = ("added", "updated", "soldout", "deleted")


async def test_the_viewers_of_a_node_that_died_are_gone_by_themselves(
    settings: Settings, spectators: list[Spectator], redis_url: str
) -> None:
    """The dead node says nothing any more, and nobody clears up after it."""
    watcher = spectators[0]
    async with running(with_figures(settings, presence_ttl_s=3)) as hub:
        keys, line = hub.domain.keys, Line(Server.of(redis_url), "dead")
        await watcher.watch(hub, "minji", "s")
        dead = Presence(line, keys, "dead", ttl=3 - TELLING_S)
        for user in ("jiho", "haru", "minji"):
            await dead.enter(keys.viewers("s"), user)
        await line.close()
        died = time.monotonic()
        await watcher.next("stream:viewer:count", viewers(3))
        await watcher.some("stream:viewer:count", 1, viewers(1))
        assert time.monotonic() - died < 3 + 1
        assert (await watcher.ask("stream:viewer:join", "s"))["viewers"] == 1


async def test_viewer_counts_are_told_at_most_once_a_second(
    hub: Running, other: Running, spectators: list[Spectator]
) -> None:
    first = spectators[0]
    await first.watch(hub, "first", "s")
    start = time.monotonic()
    coming = [Spectator() for _ in range(12)]
    for number, one in enumerate(coming):
        await one.watch((hub, other)[number % 2], f"p{number}", "s")
    await first.next("stream:viewer:count", viewers(13))
    seconds = time.monotonic() - start
    told = [args[0]["viewers"] for name, args in first.heard if name == "stream:viewer:count"]
    assert told == sorted(set(told)), "each count once, growing"
    assert len(told) <= seconds + 2
    await asyncio.gather(*(one.close() for one in coming))


async def test_whoever_was_answered_another_count_hears_the_one_that_all_know(
    hub: Running, spectators: list[Spectator]
) -> None:
    """All go and come back within a second, as by a reload: the count is the one told last."""
    first, second = spectators[:2]
    await first.watch(hub, "first", "s")
    await second.watch(hub, "second", "s")
    await first.next("stream:viewer:count", viewers(2))
    for one in (first, second):
        await one.ask("stream:viewer:leave", "s")
    first.heard.clear()
    assert (await first.ask("stream:viewer:join", "s"))["viewers"] == 1
    assert (await second.ask("stream:viewer:join", "s"))["viewers"] == 2
    await first.next("stream:viewer:count", viewers(2))


@pytest.mark.parametrize("word", PRODUCTS)
async def test_products_are_told_by_their_own_names(
    hub: Running, other: Running, connect: Connect, word: str
) -> None:
    """S5-32 … S5-35: on all nodes, to who joined that stream and nobody else."""
    here, there = await connect(hub, "minji"), await connect(other, "jiho")
    for client in (here, there):
        assert (await client.call("join:stream", {"streamKey": "s"}))["room"] == "stream:s"
    elsewhere = await connect(other, "haru")
    await elsewhere.call("join:stream", {"streamKey": "t"})
    shop = await sessions.service(hub.domain, await sessions.add_service(hub.domain, "shop"))
    form = BroadcastRequest(event=f"live:product:{word}", data={"productId": "p1", "price": 900})
    given = await verbs.broadcast(hub.domain, shop, "stream:s", form)
    for client in (here, there):
        heard: dict[str, Any] = await client.next(f"live:product:{word}")
        assert heard.pop("publishedAt")
        assert heard == {"id": given.broadcast_id, "streamKey": "s", "data": form.data}
    with pytest.raises(HubError, match="FORBIDDEN"):
        await verbs.broadcast(hub.domain, shop, "chat:s", form)
    await verbs.broadcast(hub.domain, shop, "stream:t", BroadcastRequest(event="end", data={}))
    assert (await elsewhere.next("room:broadcast"))["event"] == "end"
    assert f"live:product:{word}" not in elsewhere.names()
