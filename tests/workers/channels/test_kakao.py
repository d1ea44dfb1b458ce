"""Messages over real HTTP to a local Kakao Talk Message API. Sources of the answers: Kakao
Developers, "REST API: Error code" and "Kakao Talk Message: Error code"."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.kakao import FakeKakao, error
from tests.fakes.script import Fault
from tests.workers.channels.conftest import push, soon
from workers.channels.kakao.answers import CODES, classify
from workers.channels.kakao.message import TEXT_CHARACTERS, kakao_form
from workers.channels.kakao.sender import KakaoSender
from workers.channels.message import Recipient
from workers.channels.outcome import About, Act, Expired, Outcome, Permanent, Sent, Temporary

WAIT = 5.0
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MINJI = Recipient("abcdefg0001")
US = About.US


@pytest.fixture
async def kakao() -> AsyncIterator[FakeKakao]:
    async with FakeKakao() as fake:
        yield fake


@pytest.fixture
def sender(kakao: FakeKakao, session: aiohttp.ClientSession) -> KakaoSender:
    return KakaoSender(session, kakao.message_url, kakao.token, timeout_s=0.5)


async def test_a_message_arrives_with_its_link(kakao: FakeKakao, sender: KakaoSender) -> None:
    message = push(deadline_at=soon(120))
    assert await sender.send(MINJI, message) == Sent("")
    received = await kakao.next_message(WAIT)
    assert received["receiver"] == "abcdefg0001"
    assert received["template"] == {
        "object_type": "text",
        "text": f"{message.title}\n{message.body}",
        "link": {"web_url": message.url, "mobile_web_url": message.url},
    }


@pytest.mark.parametrize("left", [-5.0, 0.0, 0.9])
async def test_under_a_second_left_nothing_leaves(
    kakao: FakeKakao, sender: KakaoSender, left: float
) -> None:
    assert await sender.send(MINJI, push(deadline_at=soon(left))) == Expired()
    assert kakao.asked == 0


@pytest.mark.parametrize("code", [-530, -533, -536, -502])
async def test_a_receiver_who_is_not_reached_costs_nobody_else(
    kakao: FakeKakao, sender: KakaoSender, code: int
) -> None:
    kakao.refusing["abcdefg0001"] = code
    assert await sender.send(MINJI, push()) == Permanent(f"kakao_{code}")
    assert await sender.send(Recipient("abcdefg0002"), push()) == Sent("")


async def test_a_token_that_is_refused_is_ours_to_mend(
    kakao: FakeKakao, session: aiohttp.ClientSession
) -> None:
    sender = KakaoSender(session, kakao.message_url, "other")
    assert await sender.send(MINJI, push()) == Temporary("kakao_-401", about=US)


@pytest.mark.parametrize("action", ["close", "half"])
async def test_an_answer_that_is_lost(kakao: FakeKakao, sender: KakaoSender, action: Any) -> None:
    kakao.arm(Fault("send", action=action, status=200))
    assert await sender.send(MINJI, push()) == Temporary("unreachable")


async def test_one_that_hangs_costs_the_time_out_and_no_more(
    kakao: FakeKakao, sender: KakaoSender
) -> None:
    kakao.arm(Fault("send", action="hang"))
    async with asyncio.timeout(WAIT):
        assert await sender.send(MINJI, push()) == Temporary("timeout")


async def test_no_redirect_takes_the_token_away(kakao: FakeKakao, sender: KakaoSender) -> None:
    kakao.arm(Fault("send", status=307, headers={"Location": kakao.message_url}))
    assert await sender.send(MINJI, push()) == Permanent("http_307")
    assert kakao.asked == 1


RECORDED: list[tuple[int, Any, Outcome]] = [
    (200, {"successful_receiver_uuids": ["abcdefg0001"]}, Sent("")),
    (200, None, Sent("")),
    (200, {"failure_info": [{**error(-530), "receiver_uuids": ["abcdefg0002"]}]}, Sent("")),
    (
        200,
        {"failure_info": [{**error(-530), "receiver_uuids": ["abcdefg0001"]}]},
        Permanent("kakao_-530"),
    ),
    (
        200,
        {"failure_info": [{**error(-1), "receiver_uuids": ["abcdefg0001"]}]},
        Temporary("kakao_-1"),
    ),
    (400, error(-1), Temporary("kakao_-1")),
    (400, error(-2), Permanent("kakao_-2")),
    (403, error(-5), Temporary("kakao_-5", about=US)),
    (400, error(-10), Temporary("kakao_-10", about=US)),
    (401, error(-401), Temporary("kakao_-401", about=US)),
    (403, error(-402, "insufficient scopes."), Temporary("kakao_-402", about=US)),
    (400, error(-532), Temporary("kakao_-532", about=US)),
    (503, error(-9798), Temporary("kakao_-9798")),
    (400, error(-4711, "secret text"), Permanent("http_400")),
    (502, "<html>", Temporary("http_502")),
    (401, None, Temporary("http_401", about=US)),
    (429, None, Temporary("http_429")),
]


@pytest.mark.parametrize(("status", "body", "outcome"), RECORDED, ids=lambda v: str(v)[:60])
def test_recorded_answers(status: int, body: Any, outcome: Outcome) -> None:
    assert classify(status, {}, body, "abcdefg0001", NOW) == outcome


def test_no_documented_answer_ends_a_key_for_good() -> None:
    assert Act.PRUNE not in CODES.values()
    assert {code for code, act in CODES.items() if act is Act.RETRY} == {-1, -7, -603, -9798}
    assert {code for code, act in CODES.items() if act is Act.DROP} == {-2, -502, -530, -533, -536}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["code", "failure_info", "receiver_uuids", "msg"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(status=st.integers(200, 599), body=json_values)
def test_no_answer_breaks_the_table(status: int, body: Any) -> None:
    outcome = classify(status, {}, body, "abcdefg0001", NOW)
    assert isinstance(outcome, Sent | Temporary | Permanent)
    if not isinstance(outcome, Sent):
        assert len(outcome.code) < 20


@given(title=st.text(max_size=400), body=st.text(max_size=400))
def test_whatever_people_write_fits(title: str, body: str) -> None:
    form = kakao_form("key", push(title=title, body=body, url="/inbox"))
    assert set(form) == {"receiver_uuids", "template_object"}
    template = json.loads(form["template_object"])
    assert len(template["text"]) <= TEXT_CHARACTERS
    assert template["link"] == {}
