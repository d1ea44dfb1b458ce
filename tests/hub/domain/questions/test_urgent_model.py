"""A model of an urgent question: whatever people do in whatever order, and wherever processes die,
the rows say what the rules say.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from hub.domain.context import Domain
from hub.domain.questions import claims
from hub.domain.rules.kinds import CHANNELS, QUESTION_URGENT
from protocol.errors import Code, HubError
from tests import verbs
from tests.conftest import examples
from tests.hub.domain.questions.town import Town, unique

K, LEASE, DEADLINE, PLACES = 2, 70, 600, 3
DUES: Final = {1: 0, 2: 180, 3: 420}
RINGS: Final = {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1, "e": 3, "f": 3, "g": 4, "h": 9, "i": 12}
REACH: Final = {1: 1.9, 2: 4.9, 3: 20.0}
PEOPLE = st.sampled_from(sorted(RINGS))

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.sampled_from([1, 30, 69, 70, 110, 180, 240])),
        st.tuples(st.just("claim"), PEOPLE),
        st.tuples(st.just("release"), PEOPLE),
        st.tuples(st.just("answer"), PEOPLE),
        st.tuples(st.just("take back"), st.integers(0, 3)),
        st.tuples(st.just("acknowledge"), PEOPLE),
        st.tuples(st.just("die"), st.integers(0, 3)),
    ),
    max_size=16,
)


@dataclass
class Model:
    """What the rules say, in seconds after the question was asked."""

    now: int = 0
    leases: dict[str, int] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    begun: dict[int, int] = field(default_factory=dict)
    expired: bool = False

    def living(self) -> set[str]:
        return {name for name, until in self.leases.items() if until > self.now}

    @property
    def awaits(self) -> bool:
        return not self.answers and self.now < DEADLINE

    def settle(self) -> None:
        if self.answers or self.expired:
            return
        if self.now >= DEADLINE:
            self.expired = True
        elif len(self.living()) < K:
            due = max(wave for wave, at in DUES.items() if at <= self.now)
            self.begun.setdefault(due, self.now)

    def advance(self, seconds: int) -> None:
        end = self.now + seconds
        moments = {*DUES.values(), *self.leases.values(), DEADLINE}
        for moment in sorted(moment for moment in moments if self.now < moment <= end):
            self.now = moment
            self.settle()
        self.now = end

    def claim(self, name: str) -> bool:
        if not self.awaits or len(self.living() - {name}) >= K:
            return False
        self.leases[name] = self.now + LEASE
        self.settle()
        return True

    def release(self, name: str) -> None:
        if self.leases.get(name, 0) > self.now:
            del self.leases[name]
            self.settle()

    def answer(self, name: str) -> None:
        if self.leases.get(name, 0) > self.now:
            del self.leases[name]
        self.answers.append(name)

    def take_back(self, number: int) -> None:
        del self.answers[number]
        self.settle()

    @property
    def state(self) -> str:
        if self.answers:
            return "answered"
        if self.expired:
            return "expired"
        if self.now >= DEADLINE:  # its last answer was deleted after the deadline
            return "answered"
        return "claimed" if len(self.living()) >= K else "wave"

    def woken(self) -> dict[str, int]:
        """Of each wave the nearest that none before it woke; of two in one cell the first name."""
        told: dict[str, int] = {}
        for wave in sorted(self.begun):
            near = [name for name, km in RINGS.items() if km <= REACH[wave] and name not in told]
            near.sort(key=lambda name: (RINGS[name], name))
            told.update(dict.fromkeys(near[:PLACES], wave))
        return told


@pytest.fixture
async def crowd(town: Town) -> Town:
    policy = replace(
        town.d.policy, urgent_claims=K, urgent_claim_lease_s=LEASE, urgent_max_recipients=PLACES
    )
    town.d = replace(town.d, policy=policy)
    for name in sorted(RINGS, reverse=True):
        town.clock.advance(1)  # of two in one cell the first name was here last
        await town.person(name, RINGS[name])
    return town


async def play(town: Town, story: list[tuple[str, Any]]) -> None:
    model = Model()
    given_: list[str] = []
    asker = unique("asker")
    id = await town.ask(asker)
    model.settle()
    for verb, what in story:
        note(f"{verb} {what}")
        match verb:
            case "advance":
                await town.advance(what)
                model.advance(what)
            case "claim":
                assert await claimed(town, what, id) == model.claim(what)
            case "release":
                await town.release(what, id)
                model.release(what)
            case "answer":
                given_.append(await town.answer(what, id))
                model.answer(what)
            case "take back" if what < len(given_):
                await town.take_back(given_.pop(what))
                model.take_back(what)
            case "acknowledge":
                await verbs.acknowledge(town.d, what, [], [id])
            case "die":
                town.lives = what
        await check(town, id, model)
    await town.advance(DEADLINE)
    model.advance(DEADLINE)
    await check(town, id, model)
    await town.sql("DELETE FROM pgqueuer")
    town.lives = None


async def claimed(town: Town, name: str, question_id: str) -> bool:
    try:
        await town.claim(name, question_id)
    except HubError as error:
        assert error.code is Code.CONFLICT
        return False
    return True


async def check(town: Town, question_id: str, model: Model) -> None:
    assert await town.begun(question_id) == model.begun
    assert await town.state(question_id) == model.state
    assert await town.woken(question_id) == model.woken()
    living = await alive(town.d, question_id, town)
    assert living == model.living()
    assert len(living) <= K
    told = await town.sql(
        "SELECT user_id, count(*) AS n FROM notifications WHERE question_id = $1"
        " AND kind = 'question_urgent' GROUP BY user_id",
        question_id,
    )
    assert {row["n"] for row in told} <= {1}, "nobody is woken twice"
    begun = await of(town, "question:urgent", question_id)
    assert begun == len(model.begun), "each wave is told once, and none after the answer"
    assert await of(town, "question:unanswered", question_id) == model.expired
    if model.answers or model.expired:
        pending = await town.sql(
            "SELECT FROM notifications n CROSS JOIN unnest($2::text[]) c (channel)"
            " WHERE n.question_id = $1 AND n.kind = 'question_urgent' AND NOT EXISTS (SELECT FROM"
            " deliveries d WHERE d.notification_id = n.id AND d.channel = c.channel"
            " AND d.status IN ('suppressed', 'expired'))",
            question_id,
            [one for one in QUESTION_URGENT.channels if not CHANNELS[one].optional],
        )
        assert pending == [], "what had not gone out ends with the question"


async def of(town: Town, event: str, question_id: str) -> int:
    return sum(one["questionId"] == question_id for one in await town.told(event))


async def alive(d: Domain, question_id: str, town: Town) -> set[str]:
    async with d.pool.acquire() as conn:
        return {one.user_id for one in await claims.living(conn, question_id, town.clock.now())}


@settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=OPERATIONS, twice=st.booleans())
async def test_property_the_rows_say_what_the_rules_say(
    crowd: Town, story: list[tuple[str, Any]], twice: bool
) -> None:
    crowd.twice = twice
    await asyncio.wait_for(play(crowd, story), 60)
