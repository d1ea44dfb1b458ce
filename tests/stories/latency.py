"""How long an urgent question takes to the open screens of its cells, on one monotonic clock."""

import asyncio
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from hub.domain.context import Domain
from hub.domain.people import members
from protocol.domain_events import UserUpdated
from protocol.tokens import sign_access
from tests import verbs
from tests.client import Rest
from tests.stories.light import LightSocket
from tests.stories.stack import Stack

PLACE = (33.4892, 126.4932)
PHARMACY: Final[dict[str, Any]] = {
    "title": "문 연 약국 있나요?",
    "content": "지금 연동에서 문을 연 약국을 찾아요.",
    "urgency": "urgent",
    "lat": PLACE[0],
    "lng": PLACE[1],
}


def token_of(d: Domain, user_id: str) -> str:
    return sign_access(d.tokens, user_id, "user", now=d.now(), ttl_s=900, jti=str(uuid4()))


async def settle_local(d: Domain, user_id: str) -> None:
    """A verified local in the middle of the wave's circle."""
    async with d.outbox.change() as change:
        person = UserUpdated(
            user_id=user_id,
            nickname=user_id,
            is_local_verified=True,
            location_consent_at=d.now(),
        )
        await members.update(d, change, person)
    await verbs.locate(d, user_id, *PLACE, 10)


async def measure(stack: Stack, questions: int, sockets: int) -> list[float]:
    """Seconds from the request that commits a question to each socket; one question at a time.

    The clock starts before the request is sent, so a figure is never under commit-to-socket.
    Raises AssertionError when a socket did not hear of a question once.
    """
    d = stack.domain
    names = [f"local-{n}" for n in range(sockets)]
    for name in names:
        await settle_local(d, name)
    needle = b'"question:urgent"'
    people = [LightSocket(stack.hub.url, token_of(d, name), needle) for name in names]
    await asyncio.gather(*(one.connect() for one in people))
    took: list[float] = []
    for n in range(questions):
        asker = stack.service.as_(token_of(d, f"asker-{n}"))
        took += await _ask(asker, people)
    for one in people:
        one.close()
    return took


async def _ask(asker: Rest, people: list[LightSocket]) -> list[float]:
    begin = monotonic()
    question = await asker.call("POST", "/questions", PHARMACY)
    id = question["id"].encode()
    async with asyncio.timeout(10):
        while not all(one.arrivals for one in people):
            await asyncio.sleep(0.005)
    took = []
    for one in people:
        assert len(one.arrivals) == 1, "heard once"
        moment, data = one.arrivals.pop()
        assert id in data
        took.append(moment - begin)
    return took


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
