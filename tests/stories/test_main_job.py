"""The whole way of one urgent question, by separate processes and stock clients, with crashes."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.client import Rest
from tests.fakes.script import Fault
from tests.stories.latency import measure, percentile
from tests.stories.stack import Stack

pytestmark = pytest.mark.story

FULL = os.environ.get("STORIES") == "full"
again = pytest.mark.parametrize("round_", range(5 if FULL else 1))
"""A crash is a matter of moments: `make story` plays each five times."""

YEON = (33.4892, 126.4932)
PHARMACY = {
    "title": "문 연 약국 있나요?",
    "content": "지금 연동에서 문을 연 약국을 찾아요.",
    "urgency": "urgent",
    "lat": YEON[0],
    "lng": YEON[1],
    "hashtags": ["약국"],
}


async def answerer(stack: Stack, name: str) -> Rest:
    return await stack.service.local(name, *YEON)


async def with_phone(caller: Rest) -> Rest:
    await caller.call(
        "POST", "/devices", {"platform": "android", "token": f"phone-{caller.bearer}"}
    )
    return caller


async def pushes(stack: Stack) -> list[dict[str, Any]]:
    return [one["message"] for one in stack.fcm.received]


async def test_asked_alerted_answered_accepted_rewarded(stack: Stack) -> None:
    traveller = await stack.service.person("traveller")
    bora, chan = [await answerer(stack, name) for name in ("bora", "chan")]
    asker = await stack.person(traveller)
    phones = [await stack.person(one) for one in (bora, chan)]

    question = await traveller.call("POST", "/questions", PHARMACY)
    for phone in phones:
        alert = await phone.expect("question:urgent")
        assert alert["questionId"] == question["id"]
        assert alert["location"] == {"lat": 33.489, "lng": 126.493}
        answer = await phone.call("notification:ack", {"questionIds": [question["id"]]})
        assert answer["ok"], answer
    await asker.expect_nothing("question:urgent")

    given = await bora.call(
        "POST", "/answers", {"questionId": question["id"], "content": "중앙약국이 열려 있어요."}
    )
    heard = await asker.expect("answer:created")
    assert heard["answerId"] == given["id"]
    for phone in phones:
        assert (await phone.expect("question:retracted"))["reason"] == "answered"

    await traveller.call("PUT", f"/answers/{given['id']}/accept")
    assert (await phones[0].expect("answer:accepted"))["points"] == 10
    assert (await phones[0].expect("points:awarded"))["balance"] == 10
    await phones[0].expect_nothing("points:awarded", "question:urgent")
    assert await pushes(stack) == [], "whoever acknowledged gets no push"


async def test_the_unseen_is_pushed_then_mailed_and_synced_later(stack: Stack) -> None:
    """Offline at the time: push at once, an email when it stays unseen, the rest by sync."""
    traveller = await stack.service.person("traveller")
    bora = await with_phone(await answerer(stack, "bora"))
    question = await traveller.call("POST", "/questions", PHARMACY)

    push = await stack.fcm.next_message(10)
    assert push["message"]["data"]["questionId"] == question["id"]
    mail = await stack.smtp.next_message(15)
    assert mail["rcpt_to"] == ["bora@example.org"]

    phones = [await stack.person(bora) for _ in range(2)]
    page = await phones[0].call("inbox:sync", {})
    assert [item["kind"] for item in page["items"]] == ["question_urgent"]
    assert page["unread"] == 1
    read = await phones[0].call("notification:read", {"ids": [page["items"][0]["id"]]})
    assert read == {"ok": True, "unread": 0}
    assert (await phones[1].expect("notification:updated"))["state"] == "read"
    assert (await phones[1].expect("inbox:unread"))["count"] == 0
    assert (await phones[1].call("inbox:sync", {}))["unread"] == 0
    assert len(await pushes(stack)) == 1


async def test_a_socket_that_does_not_acknowledge_is_pushed_later(stack: Stack) -> None:
    traveller = await stack.service.person("traveller")
    bora = await with_phone(await answerer(stack, "bora"))
    phone = await stack.person(bora)
    await traveller.call("POST", "/questions", PHARMACY)
    await phone.expect("question:urgent")
    await stack.fcm.next_message(10)


@again
async def test_worker_killed_before_it_called_the_provider(stack: Stack, round_: int) -> None:
    """One push: the claimed row is found again by the next worker."""
    traveller = await stack.service.person("traveller")
    await with_phone(await answerer(stack, "bora"))
    stack.fcm.arm(Fault("token", "hold"))
    await traveller.call("POST", "/questions", PHARMACY)
    await stack.fcm.wait_held(10)
    await stack.worker.kill()
    stack.fcm.release()
    await stack.worker.start()
    await stack.fcm.next_message(40)
    mail = await stack.smtp.next_message(20)
    assert mail["rcpt_to"] == ["bora@example.org"]
    assert len(await pushes(stack)) == 1


@again
async def test_worker_killed_between_the_answer_and_its_row(stack: Stack, round_: int) -> None:
    """At most two pushes, and the second replaces the first on the phone."""
    traveller = await stack.service.person("traveller")
    await with_phone(await answerer(stack, "bora"))
    stack.fcm.arm(Fault("send", "hold", taken=True))
    await traveller.call("POST", "/questions", PHARMACY)
    await stack.fcm.wait_held(10)
    await stack.worker.kill()
    stack.fcm.release()
    await stack.worker.start()
    await stack.smtp.next_message(60)
    sent = await pushes(stack)
    assert 1 <= len(sent) <= 2
    assert len({one["android"]["collapse_key"] for one in sent}) == 1


@again
@pytest.mark.parametrize("fault", ["swallow", "mute"])
async def test_api_killed_around_the_publish(stack: Stack, fault: Any, round_: int) -> None:
    """swallow: committed, not published. mute: published, not marked. One alert on the screen."""
    traveller = await stack.service.person("traveller")
    phone = await stack.person(await answerer(stack, "bora"))
    stack.redis.arm(fault, b"question:urgent")
    call = traveller.call("POST", "/questions", PHARMACY)
    async with _expecting_a_crash(call):
        await stack.redis.tripped.wait()
        await stack.api.kill()
    alert = await phone.expect("question:urgent", 15)
    assert alert["title"] == PHARMACY["title"]
    await _all_published(stack)
    await phone.expect_nothing("question:urgent")


@asynccontextmanager
async def _expecting_a_crash(call: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """The block kills the api while the call waits for its answer, which never comes."""
    task = asyncio.create_task(call)
    async with asyncio.timeout(15):
        yield
        with pytest.raises(aiohttp.ClientError):
            await task


async def _all_published(stack: Stack) -> None:
    async with asyncio.timeout(15):
        while await stack.domain.pool.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        ):
            await asyncio.sleep(0.05)


@pytest.mark.alone
async def test_open_screens_show_it_within_100_ms(stack: Stack) -> None:
    # of ten questions the slowest alone, with every statement still to be prepared, would be p95
    questions, sockets = (100, 200) if FULL else (40, 25)
    took = await measure(stack, questions, sockets)
    assert len(took) == questions * sockets
    assert percentile(took, 0.95) < 0.1
