"""In which language a push and a mail are written: the device's decides, then its person's."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hub.domain.context import Domain
from hub.domain.notifications import writing
from hub.domain.notifications.writing import News
from hub.domain.people import members
from hub.domain.rules.kinds import ANSWER_ACCEPTED
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.workers.conftest import Shift, add_person, notify
from tests.workers.test_late_outcomes import PHARMACY, near


async def phone(d: Domain, user_id: str, token: str, locale: str | None) -> None:
    form = DeviceRequest(platform="android", token=token, locale=locale)
    await verbs.add_device(d, user_id, form)


def shown(fcm: FakeFcm) -> dict[str, tuple[str, str]]:
    texts: dict[str, tuple[str, str]] = {}
    for one in fcm.received:
        notification: dict[str, Any] = one["message"]["notification"]
        texts[one["token"]] = notification["title"], notification["body"]
    return texts


async def accepted(d: Domain, user_id: str) -> None:
    """A notification in sentences of ours, made as the hub makes it."""
    async with d.outbox.change() as change:
        language = await members.locale_of(change.conn, user_id)
        words: dict[str, str | int] = {"points": 1, "title": "약국?"}
        news = News.of_ours(user_id, ANSWER_ACCEPTED, language, words)
        await writing.notify(d, change, [news])


KO = ("내 답변이 채택됐어요", "‘약국?’ 질문에 남긴 답변이 채택돼서 1포인트를 받았어요.")
EN = ("Your answer was accepted", "Your answer to “약국?” was accepted: you earned 1 point.")


@pytest.mark.fault(18)
@pytest.mark.parametrize("person", ["ko", "en"])
async def test_each_device_is_told_in_its_own_language(
    shift: Shift, fcm: FakeFcm, person: str, record_property: Callable[[str, object], None]
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    await d.pool.execute("UPDATE users SET locale = $1", person)
    for token, locale in (("gb", "en-GB"), ("us", "en_US"), ("kr", "ko-KR"), ("ja", "ja")):
        await phone(d, "bora", token, locale)
    await phone(d, "bora", "none", None)
    await accepted(d, "bora")
    await shift.advance()
    own = {"ko": KO, "en": EN}[person]
    assert shown(fcm) == {"gb": EN, "us": EN, "kr": KO, "ja": own, "none": own}
    record_property("seen", f"a {person} person's en-GB phone: {shown(fcm)['gb'][0]}")


@pytest.mark.fault(18)
async def test_an_urgent_question_is_announced_in_the_phones_language(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    await phone(d, "bora", "english", "en")
    await verbs.ask(d, "mina", PHARMACY)
    await shift.advance()
    texts = shown(fcm)
    assert texts["english"][0].startswith("Urgent question ")
    assert texts["token-bora-0"][0].endswith("급한 질문이 올라왔어요")
    assert {body for _, body in texts.values()} == {"문 연 약국 있나요?"}


@pytest.mark.fault(18)
async def test_what_a_service_wrote_is_translated_by_nobody(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    await phone(d, "bora", "english", "en")
    await notify(d, "bora", kind="notice", title="공지", body="점검이 있어요")
    await shift.advance()
    assert shown(fcm) == {"english": ("공지", "점검이 있어요")}


async def test_who_says_so_is_told_in_another_language_and_by_another_clock(
    shift: Shift, fcm: FakeFcm, smtp: FakeSmtp
) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    await verbs.introduce(d, "bora", locale="en-GB", timezone="Europe/Berlin")
    asked = await verbs.ask(d, "mina", PHARMACY)
    await shift.advance(240)
    assert shown(fcm)["token-bora-0"][0].startswith("Urgent question ")
    assert asked.deadline_at is not None
    (mail,) = smtp.received
    assert mail["subject"].startswith("Urgent: ")
    berlin = asked.deadline_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert f"{berlin:%-I:%M}" in mail["text"]


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("locale", "phones", "subject"),
    [
        ("ko", [], KO[0]),
        ("en", [], EN[0]),
        ("ko", ["ko", "en"], EN[0]),  # the phone that was used last
        ("en", ["ja"], EN[0]),
    ],
)
async def test_a_mail_is_written_in_the_persons_language(
    shift: Shift, smtp: FakeSmtp, locale: str, phones: list[str], subject: str
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    await d.pool.execute("UPDATE users SET locale = $1", locale)
    for number, spoken in enumerate(phones):
        await phone(d, "bora", f"phone-{number}", spoken)
    await accepted(d, "bora")
    await shift.advance(601)
    (mail,) = smtp.received
    assert mail["subject"] == subject
    assert mail["headers"]["Content-Language"] == ("en" if subject == EN[0] else "ko")
