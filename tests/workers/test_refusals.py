"""Whom an answer is about, one recipient, us or the provider: from the job to rows and lines."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.domain_events import UserUpdated
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.fakes.smtp import FakeSmtp
from tests.workers.channels.conftest import push, to
from tests.workers.conftest import Shift, add_person, deliveries, notify
from workers.channels.outcome import About, Permanent, Sent, Temporary
from workers.channels.refusals import QUIET_S, Refusals

US = Temporary("SENDER_ID_MISMATCH", about=About.US)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def refuses(provider: str) -> float | None:
    return REGISTRY.get_sample_value("provider_refuses", {"provider": provider})


async def disabled(d: Domain) -> int:
    return int(await d.pool.fetchval("SELECT count(*) FROM devices WHERE disabled_at IS NOT NULL"))


@pytest.mark.fault(14)
async def test_one_device_over_its_quota_stops_nobody_else(
    shift: Shift, fcm: FakeFcm, record_property: Callable[[str, object], None]
) -> None:
    d = shift.desk.domain
    fcm.noisy.update(await add_person(d, "noisy"))
    (calm,) = await add_person(d, "calm")
    for _ in range(6):
        await notify(d, "noisy")
        await shift.advance()
    assert shift.desk.providers.named("fcm").breaker.blocked_s() == 0
    await notify(d, "calm", kind="question_urgent")
    await shift.advance()
    assert [message["token"] for message in fcm.received] == [calm]
    assert await disabled(d) == 0
    record_property("seen", "6 device quotas in a row: breaker closed")


@pytest.mark.fault(14)
async def test_a_key_of_another_project_costs_no_device_and_is_told_once(
    shift: Shift, fcm: FakeFcm, lines: list[Any], record_property: Callable[[str, object], None]
) -> None:
    d = shift.desk.domain
    people = [f"u{n}" for n in range(5)]
    for person in people:
        fcm.foreign.update(await add_person(d, person))
        await notify(d, person)
    await shift.advance(30)
    assert await disabled(d) == 0
    assert await deliveries(d, "push") == [("push", "failed", None)] * 5
    assert shift.held == ["notification:normal"] * 5, "dead letters that can be put back"
    told = [one for one in lines if one["log_level"] == "error"]
    assert [(one["event"], one["provider"], one["code"]) for one in told] == [
        ("a provider refuses us", "fcm", "SENDER_ID_MISMATCH")
    ]
    assert refuses("fcm") == 1
    codes = await d.pool.fetch("SELECT DISTINCT error_code FROM deliveries WHERE channel = 'push'")
    assert [row["error_code"] for row in codes] == ["SENDER_ID_MISMATCH"]
    fcm.foreign.clear()
    for person in people:
        await notify(d, person)
    await shift.advance()
    assert len(fcm.received) == 5
    record_property("seen", "15 refusals: one ERROR line, 0 devices lost, 5 of 5 after the mend")


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    "reply", ["550 relay not permitted", "550 5.7.1 relaying denied", "554 5.7.1 blocked for spam"]
)
async def test_a_server_that_refuses_us_suppresses_nobody(
    shift: Shift, smtp: FakeSmtp, lines: list[Any], reply: str
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    smtp.arm(Fault("rcpt", reply=reply, times=2))
    await notify(d, "bora")
    await shift.advance(610)
    assert await d.pool.fetchval("SELECT count(*) FROM suppressions") == 0
    assert await deliveries(d, "email") == [("email", "sent", None)]
    told = [one for one in lines if one["log_level"] == "error"]
    assert [(one["provider"], one["code"]) for one in told] == [
        ("smtp", reply[:9] if reply[4].isdigit() else reply[:3])
    ]


@pytest.mark.fault(13)
async def test_a_421_with_five_mails_under_way_opens_no_breaker(
    shift: Shift, smtp: FakeSmtp, record_property: Callable[[str, object], None]
) -> None:
    post = shift.desk.providers.named("smtp")
    smtp.arm(Fault("rcpt", reply="421 4.3.2 closing", times=5))
    sends = [post.send(to("minji@example.com"), push()) for _ in range(5)]
    assert await asyncio.gather(*sends) == [Temporary("421 4.3.2")] * 5
    assert post.breaker.blocked_s() == 0
    record_property("seen", "five mails, one 421: counted once")


@pytest.mark.fault(13)
async def test_a_time_out_of_one_moment_opens_no_breaker(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=6)
    fcm.arm(Fault("send", action="hang", times=6))
    await notify(d, "bora")
    await shift.advance()
    assert shift.desk.providers.named("fcm").breaker.blocked_s() == 0
    await shift.advance(5)
    assert await deliveries(d, "push") == [("push", "sent", None)] * 6


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "spelling",
    [
        "nobody@example.com",
        "Nobody@example.com",
        "Kim <nobody@Example.COM>",
        '"nobody"@example.com',
    ],
)
async def test_a_mailbox_that_is_none_is_left_alone_in_every_spelling(
    shift: Shift, smtp: FakeSmtp, spelling: str
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0, email="nobody@Example.COM")
    smtp.arm(Fault("rcpt", reply="550 5.1.1 no such user"))
    await notify(d, "bora")
    await shift.advance(601)
    asked = smtp.connections
    async with d.outbox.change() as change:
        await members.update(d, change, UserUpdated(user_id="bora", email=spelling))
    # as an older version kept it, which knew no normal form
    for kept in (None, spelling):
        if kept is not None:
            await d.pool.execute("UPDATE users SET email = $1 WHERE id = 'bora'", kept)
        told = await notify(d, "bora")
        await shift.advance(601)
        row = await d.pool.fetchrow(
            "SELECT status, reason FROM deliveries WHERE notification_id = $1"
            " AND channel = 'email'",
            told.id,
        )
        assert row is not None
        assert tuple(row) == ("suppressed", "address_suppressed")
    assert smtp.connections == asked


def test_a_refusal_ends_when_nothing_of_it_came_for_a_while(lines: list[Any]) -> None:
    now = [1000.0]
    refusals = Refusals("quiet", lambda: now[0])
    for _ in range(50):  # half of what is sent is refused: one state, not fifty
        refusals.note(US)
        refusals.note(Sent("1"))
        refusals.note(Permanent("UNREGISTERED", token_dead=True))
    assert [one["event"] for one in lines] == ["a provider refuses us"]
    assert refuses("quiet") == 1
    now[0] += QUIET_S
    refusals.note(Sent("2"))
    assert [one["event"] for one in lines][1:] == ["a provider takes what we send again"]
    assert refuses("quiet") == 0
    value = REGISTRY.get_sample_value(
        "provider_answers_total", {"provider": "quiet", "about": "us"}
    )
    assert value == 50
