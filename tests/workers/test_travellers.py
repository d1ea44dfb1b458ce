"""Somebody of jeju in busan: found by its waves, told in both regions, with one inbox at home."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from hub.domain import arrival, homes, intake
from hub.domain.context import Domain
from hub.domain.notifications import inbox
from hub.domain.notifications.writing import News
from hub.domain.people import members
from protocol.between_regions import BETWEEN_REGIONS
from protocol.domain_events import Envelope, UserUpdated
from protocol.errors import HubError
from protocol.jobs import HandOverJob
from protocol.names import user_room
from protocol.rest.devices import DeviceRequest
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.domain.test_flow import SERVICE
from tests.workers.conftest import Country, come_online
from tests.workers.test_shards import BUSAN, JEJU, event, tell
from workers.ending import Attempt
from workers.jobs import hand_over

PHARMACY = Ask(title="약국?", content="해운대요", urgency="urgent", lat=BUSAN["lat"], lng=129.16)


async def people(country: Country) -> None:
    """Known in both regions: dora of jeju, and bada and sora of busan."""
    for name, region in (("dora", "jeju"), ("bada", "busan"), ("sora", "busan")):
        facts = {"nickname": name, "regionCode": region, "isLocalVerified": True}
        now = country.jeju.desk.domain.now().isoformat()
        facts["locationConsentAt"] = now
        await tell(country, event(country, "user.updated", userId=name, **facts))
    await country.work()


async def asked(country: Country, by: str = "bada") -> str:
    """An urgent question in busan, and its first wave ranked."""
    question = await verbs.ask(country.busan.desk.domain, by, PHARMACY)
    await country.work()
    return question.id


async def inboxes(country: Country, user_id: str = "dora") -> list[list[str]]:
    """Kinds, by region, the oldest first."""
    found = []
    for shift in (country.jeju, country.busan):
        page = await inbox.sync(shift.desk.domain, user_id, None, 100)
        found.append([item.kind or "" for item in page.items])
    return found


async def told(d: Domain, name: str, user_id: str = "dora") -> list[dict[str, Any]]:
    """Data of the events of this name that went out here to a person's own room."""
    rows = [
        msgspec.msgpack.decode(row["payload"])
        for row in await d.pool.fetch("SELECT payload FROM outbox WHERE kind = 'emit' ORDER BY id")
    ]
    emits = [row["emit"] for row in rows if "emit" in row]
    return [
        one["data"] for one in emits if one["event"] == name and user_room(user_id) in one["rooms"]
    ]


async def test_a_traveller_is_found_there_and_reads_one_inbox(country: Country) -> None:
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    moved = await verbs.locate(jeju, "dora", **BUSAN, accuracy_m=10)
    assert moved.region_code == "busan"
    await country.work()
    question = await asked(country)
    assert await inboxes(country) == [["question_urgent"], []]
    assert await country.rows("SELECT count(*) FROM inbox_heads WHERE user_id = 'dora'") == (1, 0)
    (alert,) = await told(jeju, "question:urgent")
    assert (alert["questionId"], alert["regionCode"]) == (question, "busan")
    (here,) = await jeju.pool.fetch("SELECT * FROM notifications")
    assert here["id"] == await busan.pool.fetchval(
        "SELECT notification_id FROM question_recipients"
    )
    assert here["expires_at"] is not None


async def test_the_answer_takes_the_alert_back_at_home(country: Country) -> None:
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    await verbs.locate(jeju, "dora", **BUSAN, accuracy_m=10)
    await country.work()
    question = await asked(country)
    await verbs.answer(busan, "sora", question, "여기요")
    await country.work()
    assert len(await told(jeju, "question:retracted")) == 1
    assert len(await told(jeju, "question:answered")) == 1
    (item,) = (await inbox.sync(jeju, "dora", None, 10)).items
    assert item.retracted_at is not None
    assert (await inbox.unread_count(jeju, "dora")).count == 0
    reasons = await jeju.pool.fetch("SELECT DISTINCT reason FROM deliveries WHERE user_id = 'dora'")
    assert [row["reason"] for row in reasons] in (["answered"], ["no_device"])


async def test_an_alert_that_comes_after_its_end_is_not_told(country: Country) -> None:
    """Two jobs at once at home: the end overtakes the alert."""
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    await verbs.locate(busan, "dora", **BUSAN, accuracy_m=10)
    question = await verbs.ask(busan, "bada", PHARMACY)
    await country.busan.advance()
    await verbs.answer(busan, "sora", question.id, "여기요")
    await country.busan.advance()
    arrived = {
        row["event_type"]: row["event_id"]
        for row in await jeju.pool.fetch("SELECT * FROM inbox_events WHERE processed_at IS NULL")
    }
    for name in ("alert.over", "person.notified"):
        assert await intake.apply(jeju, arrived[name])
    await country.work()
    assert await inboxes(country) == [[], []]


async def test_an_event_that_is_delivered_twice_is_written_once(country: Country) -> None:
    """The job dies behind the other side's commit: it runs again."""
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    news = News("dora", "question_urgent", "t", "b", expires_at=busan.now() + timedelta(minutes=9))
    (written,) = await verbs.notify(busan, news)
    row = await busan.pool.fetchrow("SELECT * FROM inbox_events WHERE event_id = $1", written.id)
    job = HandOverJob(event_id=str(written.id), region="jeju")
    this = Attempt(1, 4, busan.now(), retry_s=1.0)
    for _ in range(3):
        await hand_over(country.busan.desk, job, this)
        await busan.pool.execute(
            "INSERT INTO inbox_events SELECT ($1::inbox_events).* ON CONFLICT DO NOTHING", row
        )
        await country.work()
    assert await inboxes(country) == [["question_urgent"], []]
    assert (
        await jeju.pool.fetchval(
            "SELECT count(*) FROM inbox_events WHERE event_id = $1", written.id
        )
        == 1
    )


async def test_an_asker_of_jeju_hears_of_the_answer_at_home(country: Country) -> None:
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    question = await verbs.ask(jeju, "dora", PHARMACY)
    await country.work()
    answer = await verbs.answer(busan, "sora", question.id, "여기요")
    await country.work()
    assert await inboxes(country) == [["answer_created"], []]
    ((there,), (here,)) = [await told(d, "answer:created") for d in (jeju, busan)]
    assert there == here
    (item,) = (await inbox.sync(jeju, "dora", None, 10)).items
    assert item.id == there["notificationId"]
    await verbs.accept(busan, "dora", answer.id)
    await country.work()
    assert await inboxes(country, "sora") == [[], ["answer_accepted"]]


async def test_what_a_screen_there_has_shown_is_not_pushed_at_home(country: Country) -> None:
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    await verbs.add_device(jeju, "dora", DeviceRequest(platform="android", token="t"))
    await verbs.locate(busan, "dora", **BUSAN, accuracy_m=10)
    await come_online(busan, "dora")
    question = await asked(country)
    assert await verbs.acknowledge(busan, "dora", [], [question]) == 0
    await country.work()
    await country.jeju.advance(60)
    rows = await jeju.pool.fetch("SELECT channel, status, reason FROM deliveries ORDER BY channel")
    found = {row["channel"]: (row["status"], row["reason"]) for row in rows}
    assert found["socket"][0] == "sent"
    assert found["push"] == ("suppressed", "acknowledged")


async def test_who_is_kept_apart_at_home_is_told_nothing(country: Country) -> None:
    await people(country)
    jeju = country.jeju.desk.domain
    await verbs.block(jeju, "dora", "bada")
    await verbs.locate(jeju, "dora", **BUSAN, accuracy_m=10)
    await country.work()
    await asked(country)
    assert await inboxes(country) == [[], []]
    assert await told(jeju, "question:urgent") == []
    assert await jeju.pool.fetchval("SELECT reason FROM decisions") == "blocked"


async def test_whoever_has_left_is_not_ranked_any_more(country: Country) -> None:
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    where = "SELECT count(*) FROM user_locations WHERE user_id = 'dora'"
    await verbs.locate(jeju, "dora", **BUSAN, accuracy_m=10)
    await country.work()
    assert await country.rows(where) == (1, 1)
    kept = await busan.pool.fetchval(
        "SELECT payload::text FROM inbox_events WHERE event_type = 'person.located'"
    )
    assert kept == "{}", "no place stays in an event"
    await verbs.locate(jeju, "dora", **JEJU, accuracy_m=10)
    await country.work()
    assert await country.rows(where) == (1, 0)
    await asked(country)
    assert await inboxes(country) == [[], []]


async def test_a_person_registered_in_one_region_is_greeted_at_home_once(country: Country) -> None:
    one = event(country, "user.registered", userId="new", email="new@example.org")
    await tell(country, one, by=country.busan)
    await country.work()
    assert await inboxes(country, "new") == [["welcome"], []]
    email = await country.rows("SELECT email FROM users WHERE id = 'new'")
    assert email == ("new@example.org", "new@example.org")


async def test_no_door_takes_what_regions_tell_each_other(domain: Domain) -> None:
    for name in BETWEEN_REGIONS:
        payload = {"userId": "dora"}
        one = Envelope(event_id=uuid4(), event_type=name, occurred_at=domain.now(), payload=payload)
        with pytest.raises(HubError, match="Unknown eventType"):
            await intake.accept(domain, SERVICE, [one])
        await intake.hear(domain, one)
    kept = await domain.pool.fetch("SELECT error FROM inbox_events WHERE processed_at IS NULL")
    assert [row["error"] for row in kept] == ["INVALID_PAYLOAD: Unknown eventType."] * len(
        BETWEEN_REGIONS
    )


async def test_a_person_at_home_here_is_written_here(country: Country) -> None:
    await people(country)
    busan = country.busan.desk.domain
    async with busan.outbox.change() as change:
        await members.update(busan, change, UserUpdated(user_id="bada", nickname="b"))
    await verbs.notify(busan, News("bada", "other", "t", "b"))
    assert await inboxes(country, "bada") == [[], ["other"]]


async def test_the_inbox_at_home_is_read_and_marked_from_there(country: Country) -> None:
    """By the hub and the api of the region where its person is."""
    await people(country)
    jeju, busan = country.jeju.desk.domain, country.busan.desk.domain
    (written,) = await verbs.notify(jeju, News("dora", "other", "t", "b"))
    home = await homes.of(busan, "dora")
    assert await homes.of(busan, "bada") is busan
    assert (await arrival.arrive(busan, ["dora"]))[0].unread == 1
    page = await inbox.page(home, "dora", after=None, limit=10, unread_only=True, kind=None)
    assert [item.id for item in page.items] == [str(written.id)]
    assert await verbs.mark_read(home, "dora", [str(written.id)]) == 0
    assert (await inbox.unread_count(jeju, "dora")).count == 0
    left = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
    assert await country.rows(left) == (3, 0), "for jeju's own workers to publish"
    assert await jeju.outbox.sweep() == 3


async def test_words_of_somebody_erased_go_from_the_inboxes_of_other_regions(
    country: Country,
) -> None:
    await people(country)
    jeju = country.jeju.desk.domain
    await verbs.locate(jeju, "dora", **BUSAN, accuracy_m=10)
    await country.work()
    question = await asked(country)
    answered = await verbs.ask(
        jeju, "dora", Ask(title="길?", content="어디요", lat=BUSAN["lat"], lng=129.16)
    )
    await country.work()
    await verbs.answer(country.busan.desk.domain, "sora", answered.id, "왼쪽이요")
    await country.work()
    for name in ("bada", "sora"):
        await tell(country, event(country, "user.deleted", userId=name), by=country.busan)
    await country.work()
    found = {item.question_id: item for item in (await inbox.sync(jeju, "dora", None, 9)).items}
    assert {id: (item.title, item.body) for id, item in found.items()} == {
        question: ("(deleted)", ""),
        answered.id: ("(deleted)", ""),
    }
    texts = await country.rows(
        "SELECT count(*) FROM inbox_events WHERE payload::text ~ '약국|왼쪽|해운대'"
    )
    assert texts == (0, 0)
    assert await country.rows("SELECT count(*) FROM inbox_events WHERE error IS NOT NULL") == (0, 0)
