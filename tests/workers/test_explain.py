"""GET /explain: of each reason of the closed list that can occur one person, with one verdict."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import uuid4

import pytest

from hub.commands.explain import explain_command, lines
from hub.domain import explain as explaining
from hub.domain import intake
from hub.domain.explain import explain
from hub.domain.people.sessions import Service
from hub.domain.rules.reasons import Cause, Reason, Verdict
from hub.plumbing.settings.settings import Settings
from protocol.domain_events import Envelope
from protocol.errors import HubError
from protocol.rest.explain import Explanation
from protocol.rest.questions import Ask
from tests import verbs
from tests.fakes.fcm import FakeFcm
from tests.workers.conftest import Shift, add_person, come_online
from tests.workers.test_late_outcomes import PHARMACY, near
from workers.channels.outcome import Temporary
from workers.channels.provider import Providers
from workers.jobs import Desk

NOT_REACHABLE: Final = {Reason.BLOCKED, Reason.QUIET_HOURS, Reason.CAP_PERSON}
"""Reasons that nothing gives yet: the list only shrinks."""

KM = 0.009


async def ask(shift: Shift, seconds: float = 1) -> str:
    id = (await verbs.ask(shift.desk.domain, "mina", PHARMACY)).id
    await shift.advance(seconds)
    return id


async def sql(shift: Shift, statement: str, *args: object) -> None:
    await shift.desk.domain.pool.execute(statement, *args)


async def not_configured(shift: Shift, fcm: FakeFcm) -> str:
    shift.desk = Desk(shift.desk.domain, Providers([]))
    await near(shift.desk.domain, "bora")
    return await ask(shift)


async def channel_off(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    await sql(shift, "UPDATE notification_preferences SET push_enabled = false")
    return await ask(shift)


async def topic_off(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    await sql(shift, "UPDATE notification_preferences SET urgent_enabled = false")
    return await ask(shift)


async def muted(shift: Shift, fcm: FakeFcm) -> str:
    d = shift.desk.domain
    await near(d, "bora")
    code = d.atlas.neighbourhood_of(33.489, 126.493)
    await sql(shift, "UPDATE notification_preferences SET muted_neighbourhoods = $1", [code])
    return await ask(shift)


async def cap_wave(shift: Shift, fcm: FakeFcm) -> str:
    d = shift.desk.domain
    d = replace(d, policy=replace(d.policy, urgent_max_recipients=1))
    shift.desk = Desk(d, shift.desk.providers)
    await near(d, "bora")
    await near(d, "first")
    await sql(shift, "UPDATE users SET is_local_verified = id = 'first'")
    return await ask(shift)


async def outside_radius(shift: Shift, fcm: FakeFcm) -> str:
    d = shift.desk.domain
    await near(d, "bora")
    await verbs.locate(d, "bora", 33.489 - 3 * KM, 126.493)
    return await ask(shift)


async def no_position(shift: Shift, fcm: FakeFcm) -> str:
    await add_person(shift.desk.domain, "bora")
    return await ask(shift)


async def position_expired(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    await sql(shift, "UPDATE user_locations SET expires_at = $1", shift.clock.now())
    return await ask(shift)


async def asker(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    id = (await verbs.ask(shift.desk.domain, "bora", PHARMACY)).id
    await shift.advance(1)
    await verbs.answer(shift.desk.domain, "dana", id, "여기요")
    await shift.advance(1)
    return id


async def told_before(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    return await ask(shift, 181)


async def acknowledged(shift: Shift, fcm: FakeFcm) -> str:
    return await _here(shift, lambda d, id: verbs.acknowledge(d, "bora", [], [id]))


async def seen(shift: Shift, fcm: FakeFcm) -> str:
    return await _here(shift, lambda d, _: verbs.mark_read(d, "bora", [], before=d.now()))


async def answered(shift: Shift, fcm: FakeFcm) -> str:
    return await _here(shift, lambda d, id: verbs.answer(d, "dana", id, "여기요"))


async def closed(shift: Shift, fcm: FakeFcm) -> str:
    return await _here(shift, lambda d, id: verbs.close(d, "mina", id))


async def erased(shift: Shift, fcm: FakeFcm) -> str:
    erase = "UPDATE users SET deleted_at = now() WHERE id = 'bora'"
    return await _here(shift, lambda d, _: d.pool.execute(erase))


async def _here(shift: Shift, act: Callable[..., Awaitable[object]]) -> str:
    """Somebody with a live socket, whose push waits while something happens."""
    d = shift.desk.domain
    await near(d, "bora")
    await come_online(d, "bora")
    id = await ask(shift)
    await act(d, id)
    await shift.advance(40)
    return id


async def expired(shift: Shift, fcm: FakeFcm) -> str:
    """Somebody with a live socket, whose push would have come after the deadline."""
    d = shift.desk.domain
    d = replace(d, policy=replace(d.policy, unseen_push_urgent_s=900))
    shift.desk = Desk(d, shift.desk.providers)
    await near(d, "bora")
    await come_online(d, "bora")
    return await ask(shift, 601)


async def no_device(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    await sql(shift, "DELETE FROM devices")
    return await ask(shift)


async def token_dead(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    fcm.unregistered.add("token-bora-0")
    return await ask(shift)


async def address_suppressed(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")
    await sql(shift, "INSERT INTO suppressions VALUES ('bora@example.org', 'bounce')")
    return await ask(shift, 241)


async def breaker_open(shift: Shift, fcm: FakeFcm) -> str:
    await near(shift.desk.domain, "bora")

    async def fails() -> Temporary:
        return Temporary("http_503")

    for _ in range(5):
        await shift.desk.providers.named("fcm").breaker.call(fails)
    return await ask(shift, 20)


S, E, T, F = Verdict.SUPPRESSED, Verdict.EXPIRED, Verdict.TOLD, Verdict.FAILED
TOLD = (T, Cause.NO_LIVE_SOCKET)
Fixture = Callable[[Shift, FakeFcm], Awaitable[str]]

FIXTURES: Final[dict[Reason, tuple[Fixture, tuple[Verdict, str]]]] = {
    Reason.NOT_CONFIGURED: (not_configured, (S, "not_configured")),
    Reason.CHANNEL_OFF: (channel_off, (S, "channel_off")),
    Reason.TOPIC_OFF: (topic_off, (S, "topic_off")),
    Reason.MUTED: (muted, (S, "muted")),
    Reason.CAP_WAVE: (cap_wave, (S, "cap_wave")),
    Reason.OUTSIDE_RADIUS: (outside_radius, (S, "outside_radius")),
    Reason.NO_POSITION: (no_position, (S, "no_position")),
    Reason.POSITION_EXPIRED: (position_expired, (S, "position_expired")),
    Reason.ASKER: (asker, (S, "asker")),
    Reason.TOLD_BEFORE: (told_before, TOLD),
    Reason.ACKNOWLEDGED: (acknowledged, (S, "acknowledged")),
    Reason.SEEN: (seen, (S, "seen")),
    Reason.ANSWERED: (answered, (S, "answered")),
    Reason.CLOSED: (closed, (S, "closed")),
    Reason.EXPIRED: (expired, (E, "expired")),
    Reason.NO_DEVICE: (no_device, (S, "no_device")),
    Reason.TOKEN_DEAD: (token_dead, (F, "token_dead")),
    Reason.ADDRESS_SUPPRESSED: (address_suppressed, TOLD),
    Reason.BREAKER_OPEN: (breaker_open, (S, "breaker_open")),
    Reason.ERASED: (erased, (S, "erased")),
}
"""Reason: how it comes to be, and what stands over all about the person. Who was told on one
channel has been told, whatever the reason on another."""


def test_every_reason_has_a_fixture_or_is_named() -> None:
    assert set(FIXTURES) | NOT_REACHABLE == set(Reason)
    assert set(FIXTURES).isdisjoint(NOT_REACHABLE)


def words(told: Explanation, reason: Reason) -> set[str]:
    """The verdicts with this reason, above all and in the list."""
    found = {one.verdict for one in told.decisions if one.reason == reason}
    return found | ({told.verdict} if told.reason == reason else set())


@pytest.mark.parametrize("reason", FIXTURES)
async def test_each_reason_can_occur_and_has_one_verdict(
    shift: Shift, fcm: FakeFcm, reason: Reason
) -> None:
    fixture, over_all = FIXTURES[reason]
    id = await fixture(shift, fcm)
    told = await explain(shift.desk.domain, "bora", question_id=id)
    assert (told.verdict, told.reason) == over_all
    assert len(words(told, reason)) == 1
    times = [one.at for one in told.decisions]
    assert times == sorted(times)
    assert lines(told)[0] == f"bora: {told.verdict} ({told.reason})"


async def test_a_person_who_was_told_has_every_step_in_order(shift: Shift, fcm: FakeFcm) -> None:
    await near(shift.desk.domain, "bora")
    id = await ask(shift, 250)
    told = await explain(shift.desk.domain, "bora", question_id=id)
    assert [(one.channel, one.verdict, one.reason) for one in told.decisions] == [
        (None, "told", "ranked"),
        ("push", "told", "no_live_socket"),
        (None, "suppressed", "told_before"),
        ("email", "told", "unacknowledged"),
    ]
    assert told.decisions[0].detail["wave"] == 1
    tries = [(one.channel, one.status, one.attempts) for one in told.tries]
    assert tries == [("push", "sent", 1), ("email", "sent", 1)]
    assert told.tries[0].provider_message_id is not None
    await verbs.answer(shift.desk.domain, "dana", id, "여기요")
    await shift.advance(1)
    told = await explain(shift.desk.domain, "bora", question_id=id)
    assert told.tries[0].taken_back_at is not None
    text = "\n".join(lines(told))
    assert "taken back" in text
    assert "wave    told       ranked" in text


async def test_who_was_not_ranked_yet_waits(shift: Shift) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    id = (await verbs.ask(d, "mina", PHARMACY)).id
    told = await explain(d, "bora", question_id=id)
    assert (told.verdict, told.reason, told.decisions) == ("waiting", "not_due", ())


@pytest.mark.parametrize("km", [1, 3])
async def test_who_came_later_was_elsewhere_then(shift: Shift, km: int) -> None:
    d = shift.desk.domain
    await near(d, "first")
    await add_person(d, "bora", location_consent_at=d.now())
    id = await ask(shift)
    await verbs.locate(d, "bora", 33.489 - km * KM, 126.493)
    await sql(
        shift,
        "UPDATE user_locations SET updated_at = $1 WHERE user_id = 'bora'",
        d.now() + timedelta(seconds=5),
    )
    told = await explain(d, "bora", question_id=id)
    assert (told.verdict, told.reason) == ("suppressed", "outside_radius")


SERVICE = Service("qa", frozenset({"events:write"}), ("",), ("*",), 1000, 10_000)


async def test_an_event_is_explained_by_its_id(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await add_person(d, "dana")
    question = await verbs.ask(d, "bora", Ask(title="t", content="c"))
    event = Envelope(
        event_id=uuid4(),
        event_type="answer.created",
        occurred_at=d.now(),
        payload={
            "answerId": "a-1",
            "questionId": question.id,
            "answererId": "dana",
            "questionerId": "bora",
        },
    )
    await intake.accept(d, SERVICE, [event])
    await shift.advance(1)
    told = await explain(d, "bora", event_id=event.event_id)
    assert (told.verdict, told.reason) == TOLD
    assert [one.channel for one in told.decisions] == ["push"]
    with pytest.raises(HubError, match="this person"):
        await explain(d, "dana", event_id=event.event_id)


async def test_a_question_that_came_as_an_event_is_explained_by_its_id(shift: Shift) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    event = Envelope(
        event_id=uuid4(),
        event_type="question.created",
        occurred_at=d.now(),
        payload={
            "questionId": "q-1",
            "userId": "mina",
            "urgency": "urgent",
            "location": {"lat": 33.489, "lng": 126.493},
        },
    )
    await intake.accept(d, SERVICE, [event])
    await shift.advance(1)
    told = await explain(d, "bora", event_id=event.event_id)
    assert (told.question_id, told.verdict, told.reason) == ("q-1", *TOLD)


async def test_what_is_not_known_is_not_found(shift: Shift) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    plain = await verbs.ask(d, "bora", Ask(title="t", content="c"))
    urgent = await verbs.ask(d, "bora", PHARMACY)
    for user_id, question_id in (("bora", "none"), ("bora", plain.id), ("nobody", urgent.id)):
        with pytest.raises(HubError) as caught:
            await explain(d, user_id, question_id=question_id)
        assert caught.value.code == "NOT_FOUND"
    for both in ({}, {"question_id": urgent.id, "event_id": uuid4()}):
        with pytest.raises(HubError) as caught:
            await explain(d, "bora", **both)  # type: ignore[arg-type]
        assert caught.value.code == "INVALID_PAYLOAD"


async def test_its_reads_take_an_index_each(shift: Shift) -> None:
    """The cost does not grow with people and decisions; a small table would be read as a whole."""
    d = shift.desk.domain
    await d.pool.execute(
        "INSERT INTO decisions (id, created_at, user_id, question_id, notification_id, verdict,"
        " reason) SELECT gen_random_uuid(), now(), 'u' || n, 'q' || n % 100, gen_random_uuid(),"
        " 'told', 'ranked' FROM generate_series(1, 20000) n"
    )
    await d.pool.execute(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status)"
        " SELECT gen_random_uuid(), now(), gen_random_uuid(), 'u' || n, 'push', 'sent'"
        " FROM generate_series(1, 20000) n"
    )
    await d.pool.execute("ANALYZE decisions, deliveries")
    for statement, args in (
        (explaining.DECISIONS, ("u7", "q7", uuid4(), 200)),
        (explaining.OF_NOTIFICATION, (uuid4(), 200)),
        (explaining.TRIES, (uuid4(), 200)),
    ):
        rows = await d.pool.fetch(f"EXPLAIN {statement}", *args)
        plan = "\n".join(row[0] for row in rows)
        assert "Index" in plan
        months = [row[0] for row in rows if "Seq Scan" in row[0] and "rows=20000" in row[0]]
        assert months == [], plan


async def test_the_terminal_says_the_same(
    shift: Shift, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await near(shift.desk.domain, "bora")
    id = await ask(shift)
    assert await explain_command(settings, "bora", id, "") == 0
    assert capsys.readouterr().out.startswith("bora: told (no_live_socket)\n")
    for question, event, says in (
        ("none", "", "no such urgent question"),
        ("", "x", "x is no UUID"),
        ("", str(uuid4()), "no such event"),
    ):
        assert await explain_command(settings, "bora", question, event) == 1
        assert says in capsys.readouterr().err
