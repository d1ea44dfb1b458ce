"""When something happened decides, not when we heard of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.domain import intake
from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.questions import answering
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.domain_events import Envelope, UserUpdated
from protocol.errors import HubError
from protocol.rest.domain_events import EventsAccepted
from tests import verbs
from tests.hub.domain.test_flow import PHARMACY, SERVICE

Seen = Callable[[str, object], None]
pytestmark = pytest.mark.fault(11)


def event(kind: str, at: datetime, id: UUID | None = None, **payload: Any) -> Envelope:
    return Envelope(event_id=id or uuid4(), event_type=kind, occurred_at=at, payload=payload)


async def hear(d: Domain, kind: str, ago_s: float = 0, **payload: Any) -> EventsAccepted:
    at = d.now() - timedelta(seconds=ago_s)
    return await intake.accept(d, SERVICE, [event(kind, at, **payload)])


async def user(d: Domain, *fields: str) -> tuple[Any, ...]:
    row = await d.pool.fetchrow("SELECT * FROM users WHERE id = 'u'")
    assert row is not None
    return tuple(row[field] for field in fields)


async def test_an_older_update_overwrites_nothing_newer(
    domain: Domain, record_property: Seen
) -> None:
    d = domain
    await hear(d, "user.updated", 60, userId="u", email="new@example.com", isLocalVerified=False)
    late = {"email": "old@example.com", "isLocalVerified": True, "nickname": "하루"}
    assert (await hear(d, "user.updated", 600, userId="u", **late)).accepted == 1
    told = await user(d, "email", "is_local_verified", "nickname")
    assert told == ("new@example.com", False, "하루"), "each field by itself"
    await hear(d, "user.registered", 3600, userId="u", email="first@example.com")
    assert await user(d, "email") == ("new@example.com",)
    record_property("seen", f"an update 10 and a registration 60 minutes old: {told[0]} stays")


async def test_a_newer_update_wins_in_any_order_of_arrival(domain: Domain) -> None:
    d = domain
    for ago in (50, 10, 40, 20, 30):
        await hear(d, "user.updated", ago, userId="u", nickname=f"{ago} s ago")
    assert await user(d, "nickname") == ("10 s ago",)
    await hear(d, "user.updated", 5, userId="u", nickname="5 s ago")
    assert await user(d, "nickname") == ("5 s ago",)


async def test_of_two_facts_of_one_moment_the_second_to_arrive_wins(domain: Domain) -> None:
    d = domain
    at = d.now()
    for name in ("first", "second"):
        await intake.accept(d, SERVICE, [event("user.updated", at, userId="u", nickname=name)])
    assert await user(d, "nickname") == ("second",)


async def test_registration_after_an_update_keeps_it_and_welcomes_once(domain: Domain) -> None:
    d = domain
    await hear(d, "user.updated", 10, userId="u", email="now@example.com")
    await hear(d, "user.registered", 600, userId="u", email="then@example.com")
    await hear(d, "user.registered", 600, userId="u", email="then@example.com")
    assert await user(d, "email") == ("now@example.com",)
    assert await d.pool.fetchval("SELECT count(*) FROM notifications WHERE kind = 'welcome'") == 1
    await d.pool.execute("DELETE FROM notification_dedup")  # as after its seven days
    assert (await hear(d, "user.registered", 500, userId="u")).duplicates == 1
    assert await d.pool.fetchval("SELECT count(*) FROM notifications WHERE kind = 'welcome'") == 1


async def test_a_person_made_by_another_event_is_still_registered(domain: Domain) -> None:
    d = domain
    async with d.outbox.change() as change:
        await members.ensure(d, change.conn, "u")
    assert (await hear(d, "user.registered", 60, userId="u", email="u@example.com")).accepted == 1
    assert await user(d, "email") == ("u@example.com",)


async def failed(d: Domain, one: Envelope) -> None:
    """Kept, but not applied: as after a fault that was mended since."""
    await d.pool.execute("ALTER TABLE user_facts ADD CONSTRAINT broken CHECK (false) NOT VALID")
    assert (await intake.accept(d, SERVICE, [one])).accepted == 1
    assert await d.pool.fetchval("SELECT error FROM inbox_events WHERE event_id = $1", one.event_id)
    await d.pool.execute("ALTER TABLE user_facts DROP CONSTRAINT broken")


async def test_an_event_put_back_by_the_job_counts_by_its_own_time(domain: Domain) -> None:
    d = domain
    old = event("user.updated", d.now() - timedelta(seconds=300), userId="u", email="old@x.example")
    await failed(d, old)
    await hear(d, "user.updated", 60, userId="u", email="new@x.example")
    assert await intake.apply(d, old.event_id), "it is done with, and changes nothing"
    assert await user(d, "email") == ("new@x.example",)
    fresh = event("user.updated", d.now(), userId="u", email="newest@x.example")
    await failed(d, fresh)
    assert await intake.apply(d, fresh.event_id)
    assert await user(d, "email") == ("newest@x.example",)


async def ask(d: Domain, id: str = "q", ago_s: float = 0, **more: Any) -> None:
    place = {"urgency": "urgent", "location": {"lat": 33.489, "lng": 126.493}} | more
    assert (
        await hear(d, "question.created", ago_s, questionId=id, userId="asker", **place)
    ).accepted


def answer(id: str = "a", question: str = "q", **more: Any) -> dict[str, Any]:
    ids = {"answerId": id, "questionId": question, "answererId": "v", "questionerId": "asker"}
    return ids | {"excerpt": id} | more


async def question(d: Domain, *fields: str, id: str = "q") -> tuple[Any, ...]:
    row = await d.pool.fetchrow("SELECT * FROM questions WHERE id = $1", id)
    assert row is not None
    return tuple(row[field] for field in fields)


def within_target() -> float:
    return REGISTRY.get_sample_value("answers_within_target_total") or 0.0


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_an_answer_of_an_impossible_year_is_refused(
    domain: Domain, year: str, record_property: Seen
) -> None:
    d = domain
    await ask(d)
    with pytest.raises(HubError, match="createdAt") as refused:
        await hear(d, "answer.created", **answer("odd", createdAt=year))
    await hear(d, "answer.created", **answer("real"))
    assert [one.id for one in (await answering.answers(d, "q", None, 10)).items] == ["real"]
    record_property("seen", f"createdAt {year[:4]}: {refused.value.code}")


async def test_one_that_was_kept_before_is_not_applied_either(domain: Domain) -> None:
    """A row of an older version, which believed every time."""
    d = domain
    await ask(d)
    id = uuid4()
    await d.pool.execute(
        "INSERT INTO inbox_events (event_id, event_type, publisher, payload, occurred_at)"
        " VALUES ($1, 'answer.created', 'qa', $2, $3)",
        id,
        '{"answerId":"odd","questionId":"q","answererId":"v","questionerId":"asker",'
        '"createdAt":"9999-12-31T23:59:59Z"}',
        d.now(),
    )
    assert not await intake.apply(d, id)
    assert "createdAt" in await d.pool.fetchval(
        "SELECT error FROM inbox_events WHERE event_id = $1", id
    )
    assert await d.pool.fetchval("SELECT count(*) FROM answers") == 0


async def test_the_first_answer_is_the_earliest_not_the_first_to_arrive(domain: Domain) -> None:
    d = domain
    await ask(d, ago_s=500)
    before = within_target()
    await hear(d, "answer.created", 100, **answer("second"))
    first = d.now() - timedelta(seconds=400)
    early = event("answer.created", first, **answer("first"))
    await intake.accept(d, SERVICE, [early])
    told, count = await question(d, "first_answer_at", "answer_count")
    assert (told, count) == (first, 2)
    assert within_target() == before + 1, "one question, one first answer"
    assert [one.id for one in (await answering.answers(d, "q", None, 10)).items] == [
        "second",
        "first",
    ]


async def test_the_target_counts_an_early_answer_that_arrives_late(domain: Domain) -> None:
    d = domain
    await ask(d, ago_s=2000)
    before = within_target()
    await hear(d, "answer.created", 1000, **answer("late"))
    assert within_target() == before
    await hear(d, "answer.created", 1900, **answer("early"))
    assert within_target() == before + 1


async def test_an_answer_from_before_the_close_is_taken_after_it(domain: Domain) -> None:
    d = domain
    await ask(d, ago_s=90)
    await hear(d, "question.closed", 30, questionId="q")
    await hear(d, "answer.created", 60, **answer("before"))
    await hear(d, "answer.created", 10, **answer("after"))
    errors = await d.pool.fetch("SELECT error FROM inbox_events WHERE error IS NOT NULL")
    assert [row["error"] for row in errors] == ["CONFLICT: The question is closed."]
    assert await d.pool.fetchval("SELECT array_agg(id) FROM answers") == ["before"]
    assert await question(d, "status", "urgent_state", "answer_count") == ("closed", "closed", 1)
    with pytest.raises(HubError, match="closed"):
        await verbs.answer(d, "v", "q", "now")


async def test_an_acceptance_from_before_the_deletion_earns_its_points(domain: Domain) -> None:
    d = domain
    await ask(d, ago_s=90)
    await hear(d, "answer.created", 60, **answer("a"))
    await hear(d, "question.closed", 30, questionId="q", status="deleted")
    accepted = answer("a") | {"points": 5}
    await hear(d, "answer.accepted", 40, **accepted)
    assert await d.pool.fetchval("SELECT sum(amount) FROM point_transactions") == 5
    at = await d.pool.fetchval("SELECT accepted_at FROM answers WHERE id = 'a'")
    assert at < d.now() - timedelta(seconds=39)


async def test_a_close_that_is_told_twice_or_after_the_deletion_is_known(domain: Domain) -> None:
    d = domain
    await ask(d)
    assert (await hear(d, "question.closed", questionId="q")).accepted == 1
    assert (await hear(d, "question.closed", questionId="q")).duplicates == 1
    assert (await hear(d, "question.closed", questionId="q", status="deleted")).accepted == 1
    for status in ("deleted", "closed"):
        assert (await hear(d, "question.closed", questionId="q", status=status)).duplicates == 1
    assert await question(d, "status") == ("deleted",)


async def test_an_urgent_question_that_arrives_late_is_ordinary(domain: Domain) -> None:
    """It wakes nobody, and is no reason to refuse one that is urgent now."""
    d = domain
    await ask(d, "late", ago_s=601)
    assert await question(d, "urgent_state", id="late") == ("expired",)
    assert await d.pool.fetchval("SELECT count(*) FROM urgent_waves") == 0
    await verbs.ask(d, "asker", PHARMACY)
    await ask(d, "later", ago_s=700)
    assert await d.pool.fetchval("SELECT count(*) FROM inbox_events WHERE error IS NOT NULL") == 0


async def test_what_the_rest_tells_has_the_present_as_its_time(domain: Domain) -> None:
    """Verbs without a time of their own, beside events that have one."""
    d = domain
    async with d.outbox.change() as change:
        await members.update(d, change, UserUpdated(user_id="u", email="now@x.example"))
    await hear(d, "user.updated", 60, userId="u", email="old@x.example")
    assert await user(d, "email") == ("now@x.example",)
