"""The rules at work, on a virtual clock: who is pushed and mailed when, and what ends it."""

from datetime import timedelta

import pytest

from hub.domain.rules.kinds import QUESTION_URGENT
from tests import verbs
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.workers.conftest import Shift, add_person, decisions, deliveries, notify
from workers.channels.provider import Providers
from workers.jobs import Desk

SENT_PUSH = ("push", "sent", None)


async def test_a_push_goes_at_once_to_who_has_no_socket(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    (token,) = await add_person(d, "bora")
    told = await notify(d, "bora")
    await shift.advance()
    assert [message["token"] for message in fcm.received] == [token]
    data = fcm.received[0]["message"]["data"]
    assert data["notificationId"] == str(told.id)
    assert data["unread"] == "1"
    assert await deliveries(d) == [SENT_PUSH]
    assert await decisions(d, told) == [("push", "told", "no_live_socket")]


async def test_an_email_follows_when_nobody_looked(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await notify(d, "bora")
    await shift.advance(599)
    assert smtp.received == []
    await shift.advance(1)
    assert [mail["rcpt_to"] for mail in smtp.received] == [["bora@example.org"]]
    assert "여기요" in smtp.received[0]["text"]
    assert await deliveries(d) == [("email", "sent", None), SENT_PUSH]
    await shift.advance(3600)
    assert (len(fcm.received), len(smtp.received)) == (1, 1)


@pytest.mark.parametrize(("kind", "timer"), [("answer_created", 60), (QUESTION_URGENT.name, 30)])
async def test_with_a_live_socket_the_push_waits_for_its_timer(
    shift: Shift, fcm: FakeFcm, kind: str, timer: int
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await notify(d, "bora", online=True, kind=kind)
    await shift.advance(timer - 1)
    assert fcm.received == []
    await shift.advance(1)
    assert len(fcm.received) == 1


async def test_an_acknowledgement_stops_the_push_and_not_the_email_of_a_personal_alert(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora", online=True)
    await verbs.acknowledge(d, "bora", [str(told.id)], [])
    await shift.advance(700)
    assert fcm.received == []
    assert len(smtp.received) == 1
    assert await deliveries(d) == [("email", "sent", None), ("push", "suppressed", "acknowledged")]


async def test_an_acknowledgement_ends_push_and_email_of_an_urgent_one(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora", online=True, kind=QUESTION_URGENT.name)
    await verbs.acknowledge(d, "bora", [str(told.id)], [])
    await shift.advance(700)
    assert fcm.received == []
    assert smtp.received == []
    assert {reason for _, _, reason in await deliveries(d)} == {"acknowledged"}


async def test_a_push_that_was_opened_stops_the_email(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora")
    await shift.advance(10)
    assert len(fcm.received) == 1
    await verbs.mark_read(d, "bora", [str(told.id)])
    await shift.advance(700)
    assert smtp.received == []
    assert await deliveries(d) == [("email", "suppressed", "seen"), SENT_PUSH]


async def test_past_its_deadline_nothing_leaves(shift: Shift, fcm: FakeFcm, smtp: FakeSmtp) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    expires = d.now() + timedelta(seconds=40)
    told = await notify(d, "bora", online=True, expires_at=expires)
    await shift.advance(700)
    assert fcm.received == []
    assert smtp.received == []
    assert await deliveries(d) == [("email", "expired", "expired"), ("push", "expired", "expired")]
    assert [verdict for _, verdict, _ in await decisions(d, told)] == ["expired", "expired"]


async def test_the_time_to_live_is_worked_out_when_it_is_sent(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    expires = d.now() + timedelta(seconds=100)
    await notify(d, "bora", online=True, expires_at=expires)
    await shift.advance(60)
    assert fcm.received[0]["message"]["android"]["ttl"] == "40s"


async def test_without_credentials_a_channel_says_so(shift: Shift, smtp: FakeSmtp) -> None:
    d = shift.desk.domain
    shift.desk = Desk(d, Providers([shift.desk.providers.named("smtp")]))
    await add_person(d, "bora")
    told = await notify(d, "bora")
    await shift.advance(700)
    assert len(smtp.received) == 1
    assert await deliveries(d, "push") == [("push", "suppressed", "not_configured")]
    assert ("push", "suppressed", "not_configured") in await decisions(d, told)
