"""A request with an Idempotency-Key is done once."""

import asyncio

import pytest

from api.once import Once, change_once
from hub.domain.context import Domain
from hub.domain.questions import asking
from protocol.errors import Code, HubError
from protocol.rest.questions import Question
from tests.hub.domain.test_flow import PHARMACY


async def test_a_key_used_twice_gives_the_first_answer(domain: Domain) -> None:
    async def ask(body: bytes) -> Question:
        once = Once("mina", "POST /questions", "k1", body)
        return await change_once(
            domain, once, Question, lambda change: asking.ask(domain, change, "mina", PHARMACY)
        )

    both = await asyncio.gather(*(ask(b"1") for _ in range(2)))
    assert both[0].id == both[1].id
    with pytest.raises(HubError) as refused:
        await ask(b"2")
    assert refused.value.code is Code.CONFLICT
