"""An Idempotency-Key: same body, same answer; another body, CONFLICT; never done twice."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import JEJU, PREFIX, Door, Reply

URGENT = {"title": "약국", "content": "어디?", "urgency": "urgent", **JEJU}


async def post(
    door: Door, key: str, body: Any, path: str = "questions", as_: str = "asker"
) -> Reply:
    headers = {"Idempotency-Key": key}
    return await door.call("POST", f"{PREFIX}/{path}", body, as_=as_, headers=headers)


async def test_the_same_body_gets_the_same_answer(door: Door) -> None:
    first = await post(door, "k1", URGENT)
    second = await post(door, "k1", URGENT)
    assert (first.status, second.status) == (201, 201)
    assert second.body == first.body
    assert await door.count("questions") == await door.count("urgent_waves", "wave = 1") == 1


async def test_another_body_is_a_conflict(door: Door) -> None:
    await post(door, "k1", URGENT)
    reply = await post(door, "k1", URGENT | {"title": "병원"})
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert await door.count("questions") == 1


async def test_a_key_is_its_persons_and_its_routes(door: Door) -> None:
    first = await post(door, "k1", URGENT)
    other = await post(door, "k1", URGENT, as_="haru")
    assert other.status == 201
    assert other.body["id"] != first.body["id"]
    answer = {"questionId": first.body["id"], "content": "저기요"}
    assert (await post(door, "k1", answer, "answers", "haru")).status == 201


async def test_of_two_calls_at_once_one_is_done_and_both_hear_it(door: Door) -> None:
    replies = await asyncio.gather(*(post(door, "k1", URGENT) for _ in range(4)))
    assert [reply.status for reply in replies] == [201] * 4
    assert len({reply.body["id"] for reply in replies}) == 1
    assert await door.count("questions") == 1
    assert await door.count("outbox", "kind = 'event'") == 1


async def test_a_failed_call_keeps_no_answer(door: Door) -> None:
    question = await door.ask()
    body = {"questionId": "not-yet", "content": "x"}
    assert (await post(door, "k1", body, "answers")).status == 404
    await door.domain.pool.execute(
        "UPDATE questions SET id = 'not-yet' WHERE id = $1", question["id"]
    )
    assert (await post(door, "k1", body, "answers")).status == 201


async def test_services_repeat_broadcasts_and_notifications_safely(door: Door) -> None:
    notice = {"kind": "news", "title": "새 소식", "body": "본문", "userIds": ["a", "b"]}
    told = [await post(door, "n1", notice, "notifications", door.key) for _ in range(2)]
    assert [reply.status for reply in told] == [202, 202]
    assert told[0].body == told[1].body
    assert await door.count("notifications") == 2
    sale = {"event": "live:product:soldout", "data": {"productId": "p-1"}}
    path = "rooms/stream:shop/broadcasts"
    sent = [await post(door, "b1", sale, path, door.key) for _ in range(2)]
    assert [reply.status for reply in sent] == [202, 202]
    assert sent[0].body == sent[1].body
    assert await door.count("broadcasts") == 1
    elsewhere = await post(door, "b1", sale, "rooms/stream:other/broadcasts", door.key)
    assert elsewhere.body != sent[0].body


@pytest.mark.parametrize("key", ["x" * 201, "열쇠", " "])
async def test_a_bad_key_is_refused(door: Door, key: str) -> None:
    reply = await post(door, key, URGENT)
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
    assert await door.count("questions") == 0
