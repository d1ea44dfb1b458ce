"""Two regions with a database each: what belongs to the other one is handed over, once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from hub.domain import intake
from hub.domain.context import Domain
from hub.plumbing.stores.postgres import PoolOptions, open_pool
from protocol.domain_events import Envelope
from protocol.jobs import HandOverJob
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.domain.test_flow import SERVICE
from tests.workers.conftest import Country, Shift
from workers.ending import Again, Attempt, Ending, Held
from workers.jobs import Desk, hand_over

JEJU = {"lat": 33.489, "lng": 126.493}
BUSAN = {"lat": 35.158, "lng": 129.16}
SEA = {"lat": 34.5, "lng": 127.9}


def event(country: Country, kind: str, **payload: Any) -> Envelope:
    at = country.jeju.desk.domain.now()
    return Envelope(event_id=uuid4(), event_type=kind, occurred_at=at, payload=payload)


async def tell(country: Country, one: Envelope, *, by: Shift | None = None) -> None:
    await intake.accept((by or country.jeju).desk.domain, SERVICE, [one])


async def asked(country: Country, place: dict[str, float] | None, id: str = "q") -> None:
    where = {} if place is None else {"location": place}
    await tell(country, event(country, "question.created", questionId=id, userId="asker", **where))
    await country.work()


HERE = "SELECT count(*) FROM questions WHERE id = $1"


@pytest.mark.parametrize(
    ("place", "where"),
    [(JEJU, (1, 0)), (BUSAN, (0, 1)), (SEA, (1, 0)), (None, (1, 0))],
    ids=["ours", "theirs", "nobodys", "unsaid"],
)
async def test_a_question_stands_in_the_database_of_its_region(
    country: Country, place: dict[str, float] | None, where: tuple[int, int]
) -> None:
    await asked(country, place)
    assert await country.rows(HERE, "q") == where


async def test_a_question_asked_here_in_another_region_is_handed_over(country: Country) -> None:
    d = country.jeju.desk.domain
    form = Ask(title="약국?", content="해운대요", urgency="urgent", lat=BUSAN["lat"], lng=129.16)
    question = await verbs.ask(d, "traveller", form)
    assert (question.region_code, question.urgent_state) == ("busan", "open")
    assert await country.rows(HERE, question.id) == (0, 0), "not before its workers have it"
    await country.work()
    assert await country.rows(HERE, question.id) == (0, 1)
    found = await country.rows("SELECT urgent_state FROM questions WHERE id = $1", question.id)
    assert found == (None, "wave")


async def test_what_is_told_of_it_later_follows(country: Country) -> None:
    await asked(country, BUSAN)
    answer = {"answerId": "a", "questionId": "q", "answererId": "local", "questionerId": "asker"}
    await tell(country, event(country, "answer.created", excerpt="저기요", **answer))
    await country.work()
    await tell(country, event(country, "answer.accepted", points=7, **answer))
    await country.work()
    assert await country.rows("SELECT sum(amount) FROM point_transactions") == (None, 7)
    await tell(country, event(country, "question.closed", questionId="q"))
    await country.work()
    assert await country.rows("SELECT status FROM questions") == (None, "closed")


async def test_a_repeat_by_any_road_is_one_question(country: Country) -> None:
    one = event(country, "question.created", questionId="q", userId="asker", location=BUSAN)
    for by in (country.jeju, country.busan, country.jeju):
        await tell(country, one, by=by)
    await tell(country, event(country, "question.created", **one.payload))
    await country.work()
    assert await country.rows(HERE, "q") == (0, 1)
    assert await country.rows(
        "SELECT count(*) FROM inbox_events WHERE processed_at IS NOT NULL"
    ) == (2, 1)


async def test_what_is_told_of_a_person_is_known_everywhere(country: Country) -> None:
    await tell(country, event(country, "user.updated", userId="u", nickname="보라"))
    await country.work()
    assert await country.rows("SELECT nickname FROM users WHERE id = 'u'") == ("보라", "보라")
    await tell(country, event(country, "user.deleted", userId="u"), by=country.busan)
    await country.work()
    erased = await country.rows("SELECT deleted_at IS NOT NULL FROM users WHERE id = 'u'")
    assert erased == (True, True)


async def test_while_the_other_database_is_away_nothing_is_lost_or_held(country: Country) -> None:
    await tell(
        country,
        event(country, "question.created", questionId="q", userId="asker", location=BUSAN),
    )
    d = country.jeju.desk.domain
    assert await d.pool.fetchval("SELECT entrypoint FROM pgqueuer") == "hand-over"
    event_id = await d.pool.fetchval("SELECT event_id::text FROM inbox_events")
    job = HandOverJob(event_id=event_id, region="busan")
    nowhere = PoolOptions("postgresql://nobody@127.0.0.1:1/x", min_size=0)
    gone = replace(d, pool=await open_pool(nowhere, "gone"))
    assert await _handed(country, {"busan": gone}, job) == Again(1.0, "shard_away", counts=False)
    assert await _handed(country, {}, job) == Held("no_shard")
    await country.work()
    assert await country.rows(HERE, "q") == (0, 1)


async def _handed(country: Country, elsewhere: Mapping[str, Domain], job: HandOverJob) -> Ending:
    """By a worker that knows these regions."""
    desk = country.jeju.desk
    d = replace(desk.domain, elsewhere=elsewhere)
    return await hand_over(Desk(d, desk.providers), job, Attempt(1, 4, d.now(), retry_s=1.0))
