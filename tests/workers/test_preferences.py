"""What people want, obeyed by a worker: each reason, where people are ranked and where a push or a
mail would leave.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from hub.domain.context import Domain
from hub.domain.notifications import notices
from hub.domain.people.sessions import ALL_SCOPES, Service
from hub.domain.rules.quiet import HOME
from protocol.rest.notifications import ChannelName, Notify
from protocol.rest.questions import Ask
from tests import verbs
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.workers.conftest import Shift, add_person, come_online, deliveries, notify

HERE = (33.489, 126.493)
KM = 0.009
"""Degrees of latitude, roughly."""

PHARMACY = Ask(title="문 연 약국?", content="연동이요", urgency="urgent", lat=HERE[0], lng=HERE[1])
FAR_KM = 1.5


async def near(d: Domain, user_id: str, *, km: float = 0.0) -> None:
    """A verified local, so far south of the question."""
    await add_person(d, user_id, is_local_verified=True, location_consent_at=d.now())
    await verbs.locate(d, user_id, HERE[0] - km * KM, HERE[1], 20)


async def reasons(d: Domain, user_id: str) -> list[tuple[str | None, str]]:
    """Channel (None: as a candidate) and reason of each decision, in order."""
    rows = await d.pool.fetch(
        "SELECT channel, reason FROM decisions WHERE user_id = $1 ORDER BY created_at", user_id
    )
    return [(row["channel"], row["reason"]) for row in rows]


def rung(fcm: FakeFcm) -> list[str]:
    """The phones that showed something; one that was silent took something back."""
    return [one["token"] for one in fcm.received if "notification" in one["message"]]


def quiet_now(shift: Shift, *, hours: int = 2) -> dict[str, str]:
    """Quiet hours in Korea that began an hour ago."""
    now = shift.clock.now().astimezone(HOME)
    begin, end = now - timedelta(hours=1), now + timedelta(hours=hours)
    return {"quiet_from": f"{begin:%H:%M}", "quiet_to": f"{end:%H:%M}"}


Wish = Callable[[Shift], Awaitable[Any]]


def prefer(**wishes: Any) -> Wish:
    return lambda shift: verbs.prefer(shift.desk.domain, "bora", **wishes)


def block(user_id: str, other: str) -> Wish:
    return lambda shift: verbs.block(shift.desk.domain, user_id, other)


def be_quiet(shift: Shift) -> Awaitable[Any]:
    return verbs.prefer(shift.desk.domain, "bora", **quiet_now(shift))


WISHES: list[tuple[str, Wish]] = [
    ("topic_off", prefer(urgent_enabled=False)),
    ("muted", prefer(muted_neighbourhoods=("yeon",))),
    ("outside_radius", prefer(radius_m=500)),
    ("blocked", block("bora", "mina")),
    ("blocked", block("mina", "bora")),
    ("quiet_hours", be_quiet),
]


@pytest.mark.parametrize(
    ("reason", "wish"),
    [*WISHES, ("channel_off", prefer(push_enabled=False, email_enabled=False))],
)
async def test_who_does_not_want_it_takes_no_place(
    shift: Shift, fcm: FakeFcm, reason: str, wish: Wish
) -> None:
    d = shift.desk.domain
    await add_person(d, "mina")
    await near(d, "bora", km=FAR_KM)
    await near(d, "chan", km=FAR_KM)
    await wish(shift)
    await verbs.ask(d, "mina", PHARMACY)
    await shift.advance()
    assert await reasons(d, "bora") == [(None, reason)]
    assert rung(fcm) == ["token-chan-0"]


@pytest.mark.parametrize(("reason", "wish"), [*WISHES, ("channel_off", prefer(push_enabled=False))])
async def test_a_wish_after_the_ranking_still_stops_the_push(
    shift: Shift, fcm: FakeFcm, reason: str, wish: Wish
) -> None:
    d = shift.desk.domain
    await add_person(d, "mina")
    await near(d, "bora", km=FAR_KM)
    await come_online(d, "bora")
    await verbs.ask(d, "mina", PHARMACY)
    await shift.advance(20)
    await wish(shift)
    await shift.advance(20)
    ranked, *later = await reasons(d, "bora")
    assert ranked == (None, "ranked")
    assert ("push", reason) in later
    assert {one for _, one in later} == {reason}
    assert rung(fcm) == []


async def test_urgent_questions_come_in_quiet_hours_to_who_chose_that(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    await verbs.prefer(d, "bora", **quiet_now(shift), urgent_in_quiet=True)
    await verbs.ask(d, "mina", PHARMACY)
    await shift.advance(240)
    assert (len(rung(fcm)), len(smtp.received)) == (1, 1)
    await notify(d, "bora")
    await shift.advance()
    assert ("push", "quiet_hours") in await reasons(d, "bora"), "what is not urgent may wait"


async def test_a_person_who_moved_has_quiet_hours_there(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await verbs.prefer(d, "bora", **quiet_now(shift))
    await notify(d, "bora")
    await shift.advance()
    assert rung(fcm) == []
    await verbs.introduce(d, "bora", timezone="America/New_York")  # 13 or 14 hours behind
    await notify(d, "bora")
    await shift.advance()
    assert len(rung(fcm)) == 1


@pytest.mark.parametrize("kind", ["answer_created", "digest"])
async def test_a_mail_waits_until_quiet_hours_are_over(
    shift: Shift, smtp: FakeSmtp, kind: str
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await verbs.prefer(d, "bora", **quiet_now(shift))
    await notify(d, "bora", kind=kind)
    await shift.advance(3600)
    assert smtp.received == []
    await shift.advance(3700)
    assert len(smtp.received) == 1


async def test_a_phone_rings_once_in_ten_minutes(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    for asker in ("mina", "nari"):
        await verbs.ask(d, asker, PHARMACY)
        await shift.advance(10)
    assert len(rung(fcm)) == 1
    assert await reasons(d, "bora") == [
        (None, "ranked"), ("push", "no_live_socket"), (None, "cap_person"),
    ]  # fmt: skip
    await shift.advance(590)
    await verbs.ask(d, "sora", PHARMACY)
    await shift.advance()
    assert len(rung(fcm)) == 2


async def test_two_questions_that_ranked_somebody_at_once_ring_once(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    await come_online(d, "bora")
    for asker in ("mina", "nari"):
        await verbs.ask(d, asker, PHARMACY)
    await shift.advance(31)
    assert len(rung(fcm)) == 1
    assert set((await reasons(d, "bora"))[2:]) == {("push", "unseen"), ("push", "cap_person")}


async def test_six_wakes_are_a_days(shift: Shift, fcm: FakeFcm, smtp: FakeSmtp) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    for number in range(7):
        await verbs.locate(d, "bora", *HERE, 20)  # a position is kept for a day
        await verbs.ask(d, f"asker-{number}", PHARMACY)
        await shift.advance(601)
    assert (len(rung(fcm)), len(smtp.received)) == (6, 6)
    assert (await reasons(d, "bora"))[-1] == (None, "cap_person")
    await shift.advance(86_400 - 6 * 601)
    await verbs.locate(d, "bora", *HERE, 20)
    await verbs.ask(d, "asker-8", PHARMACY)
    await shift.advance()
    assert len(rung(fcm)) == 7


async def test_topics_and_channels_of_a_personal_alert(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await verbs.prefer(d, "bora", answer_enabled=False)
    await notify(d, "bora")
    await shift.advance(700)
    off = [("email", "suppressed", "topic_off"), ("push", "suppressed", "topic_off")]
    assert await deliveries(d) == off
    await add_person(d, "chan")
    await verbs.prefer(d, "chan", email_enabled=False)
    await notify(d, "chan")
    await shift.advance(700)
    assert await reasons(d, "chan") == [("push", "no_live_socket"), ("email", "channel_off")]
    assert (len(rung(fcm)), smtp.received) == (1, [])


async def test_an_answer_between_people_apart_is_told_to_nobody_of_them(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    for name in ("mina", "bora", "chan"):
        await add_person(d, name)
    await verbs.block(d, "mina", "bora")
    await verbs.block(d, "chan", "bora")
    asked = await verbs.ask(d, "mina", Ask(title="약국?", content="어디요?"))
    await verbs.answer(d, "bora", asked.id, "저기요")
    await shift.advance(700)
    assert (rung(fcm), smtp.received) == ([], [])
    assert await reasons(d, "mina") == [(None, "blocked")]
    payloads = await d.pool.fetch("SELECT payload FROM outbox WHERE kind = 'emit' ORDER BY id")
    told = [msgspec.msgpack.decode(row["payload"])["emit"] for row in payloads]
    (created,) = [one for one in told if one["event"] == "answer:created"]
    assert created["except_rooms"] == ["user:chan", "user:mina"]


@pytest.mark.parametrize(
    ("channels", "told", "announced"),
    [
        ((), ["push", "email"], True),
        (("email",), ["email"], False),
        (("socket", "push"), ["push"], True),
        (("socket",), [], True),
    ],
)
async def test_a_service_chooses_the_channels_of_what_it_tells(
    shift: Shift, fcm: FakeFcm, channels: tuple[ChannelName, ...], told: list[str], announced: bool
) -> None:
    """The inbox has it in any case."""
    d = shift.desk.domain
    await add_person(d, "bora")
    service = Service("shop", frozenset(ALL_SCOPES), (), (), 1000, 10_000)
    form = Notify(kind="sale", title="세일", body="오늘만", user_id="bora", channels=channels)
    async with d.outbox.change() as change:
        await notices.tell(d, change, service, form)
    await shift.advance(700)
    rows = await deliveries(d)
    assert sorted(channel for channel, status, _ in rows if status == "sent") == sorted(told)
    assert {reason for _, status, reason in rows if status != "sent"} <= {"channel_off"}
    assert len(rung(fcm)) == ("push" in told)
    payloads = await d.pool.fetch("SELECT payload FROM outbox WHERE kind = 'emit'")
    events = {msgspec.msgpack.decode(row["payload"])["emit"]["event"] for row in payloads}
    assert ("notification:new" in events) is announced
    assert await d.pool.fetchval("SELECT unread FROM inbox_heads WHERE user_id = 'bora'") == 1
