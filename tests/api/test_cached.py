"""What is read from the cache is never older than a write that was answered; regions and
neighbourhoods change in force on all processes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.domain_events import UserUpdated
from tests import verbs
from tests.api.conftest import JEJU, PREFIX, Door, serve

QUESTIONS = f"{PREFIX}/questions"
NEW = {"regionCode": "jeju", "name": "새 동네", "lat": 33.9, "lng": 126.4, "radiusM": 1500}


@pytest.fixture
async def other(settings: Settings, service_key: str) -> AsyncIterator[Door]:
    """Another api process on the same stores."""
    life = Lifecycle()
    domain = await open_domain(life, settings)
    server, url = await serve(domain, settings)
    async with aiohttp.ClientSession() as http:
        yield Door(url, domain, http, service_key)
    await server.close()
    await life.close()


async def get(door: Door, path: str) -> Any:
    reply = await door.call("GET", path)
    assert reply.status == 200, reply.body
    return reply.body


async def eventually(door: Door, path: str, wanted: Any, of: Any) -> None:
    """Within the 2 s that are promised."""
    async with asyncio.timeout(2):
        while of(await get(door, path)) != wanted:
            await asyncio.sleep(0.01)


async def test_who_writes_sees_it_and_everybody_else_soon(door: Door, other: Door) -> None:
    for one in (door, other):
        assert (await get(one, QUESTIONS))["questions"] == []
    question = await door.ask()
    path = f"{QUESTIONS}/{question['id']}"
    assert len((await get(door, QUESTIONS))["questions"]) == 1
    await eventually(other, QUESTIONS, 1, lambda body: len(body["questions"]))
    assert (await get(other, path))["answerCount"] == 0
    answer = await door.answer(question["id"])
    await door.call("PUT", f"{path}/like", as_="haru")
    await door.call("PUT", f"{PREFIX}/answers/{answer['id']}/accept", as_="asker")

    def shown(body: Any) -> Any:
        return body["answerCount"], body["likeCount"], body["hasAcceptedAnswer"]

    assert shown(await get(door, path)) == (1, 1, True)
    await eventually(other, path, (1, 1, True), shown)
    await verbs.update(door.domain, UserUpdated(user_id="asker", nickname="민지"))
    assert (await get(door, path))["author"]["nickname"] == "민지"
    await eventually(other, path, "민지", lambda body: body["author"]["nickname"])
    await door.call("DELETE", path, as_="asker")
    assert (await get(door, QUESTIONS))["questions"] == []
    assert (await door.call("GET", path)).status == 404
    await eventually(other, QUESTIONS, [], lambda body: body["questions"])


async def test_a_list_is_read_once(door: Door) -> None:
    await door.ask()
    first = await get(door, f"{QUESTIONS}?region=jeju")
    await door.domain.pool.execute("UPDATE questions SET title = 'unheard'")
    assert await get(door, f"{QUESTIONS}?region=jeju") == first
    keys = await door.domain.redis.keys("question*")
    kinds = {bytes(key).partition(b":")[0] for key in keys}  # type: ignore[arg-type]
    assert {b"questions", b"question_count"} <= kinds


async def test_a_neighbourhood_is_in_force_everywhere_without_a_restart(
    door: Door, other: Door
) -> None:
    root, path = door.token("root", role="admin"), f"{PREFIX}/admin/neighbourhoods/new"
    made = await door.call("PUT", path, NEW, as_=root)
    assert (made.status, made.body) == (200, {"code": "new", "isActive": True, **NEW})
    listed = f"{PREFIX}/neighbourhoods?region=jeju"

    def codes(body: Any) -> bool:
        return "new" in {row["code"] for row in body["items"]}

    for one in (door, other):
        await eventually(one, listed, True, codes)
        assert one.domain.atlas.neighbourhood_of(33.9, 126.4) == "new"
    await door.call("PUT", path, {**NEW, "isActive": False}, as_=root)
    for one in (door, other):
        await eventually(one, listed, False, codes)
    odd = {**NEW, "regionCode": "atlantis"}
    assert (await door.call("PUT", path, odd, as_=root)).code == "INVALID_PAYLOAD"
    assert (await door.call("PUT", path, NEW, as_="haru")).code == "FORBIDDEN"


async def test_a_region_with_open_questions_stays(door: Door, other: Door) -> None:
    root, path = door.token("root", role="admin"), f"{PREFIX}/admin/regions/jeju"
    box = {"latMin": 33.1, "latMax": 33.6, "lngMin": 126.1, "lngMax": 126.9}
    off = {"name": "제주", "isActive": False, **box}
    question = await door.ask(**JEJU)
    assert (await door.call("PUT", path, off, as_=root)).code == "CONFLICT"
    await door.call("PUT", f"{QUESTIONS}/{question['id']}", {"status": "closed"}, as_="asker")
    switched = await door.call("PUT", path, off, as_=root)
    assert switched.body == {"code": "jeju", "shard": None, **off}

    def regions(body: Any) -> list[str]:
        return [row["code"] for row in body["items"]]

    await eventually(other, f"{PREFIX}/regions", ["busan", "default"], regions)
    await eventually(other, f"{PREFIX}/neighbourhoods", [], lambda body: body["items"])
    assert other.domain.atlas.region_of(**JEJU) == "default"
    default = f"{PREFIX}/admin/regions/default"
    assert (await door.call("PUT", default, off, as_=root)).code == "CONFLICT"
    for odd in ({"latMin": None}, {"latMin": 40}, {"lngMin": 127}, {"latMax": 91}, {"name": ""}):
        reply = await door.call("PUT", path, off | odd, as_=root)
        assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD"), odd
