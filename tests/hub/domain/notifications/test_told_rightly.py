"""What was promised and not kept: once, for seven days, until the deadline, until it expires."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from hub.domain import arrival, intake
from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications import attention, inbox, retraction, steps, writing
from hub.domain.notifications.steps import Look
from hub.domain.notifications.writing import News
from hub.domain.people import members
from hub.domain.questions import waves
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import QuestionStatus
from hub.plumbing.life.clock import VirtualClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.outbox_rows import Told, decode
from protocol.domain_events import Envelope
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.hub.domain.test_flow import PHARMACY, SERVICE, local, rows

Seen = Callable[[str, object], None]
pytestmark = pytest.mark.fault(18)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime.now(UTC))


@pytest.fixture
async def later(settings: Settings, clock: VirtualClock) -> AsyncIterator[Domain]:
    """A domain whose time is moved by `clock`."""
    life = Lifecycle()
    yield await open_domain(life, settings, clock)
    await life.close()


async def outgoing(d: Domain) -> list[Envelope]:
    entries: Any = await d.redis.xrange(d.keys.events_out)
    return [msgspec.msgpack.decode(fields[b"e"], type=Envelope) for _, fields in entries]


async def ids(d: Domain) -> list[str]:
    return sorted(str(one.event_id) for one in await outgoing(d))


async def answered(d: Domain) -> None:
    """Four events for other services."""
    question = await verbs.ask(d, "mina", PHARMACY)
    answer = await verbs.answer(d, "bora", question.id, "길 건너편이요.")
    await verbs.accept(d, "mina", answer.id)


async def test_an_outgoing_event_is_written_once_though_its_publisher_died(
    domain: Domain, record_property: Seen
) -> None:
    """After the publish and before its mark: the sweeper publishes what is marked nowhere."""
    d = domain
    await answered(d)
    first = await ids(d)
    assert len(first) == len(set(first)) == 4
    for _ in range(3):
        await d.pool.execute("UPDATE outbox SET published_at = NULL, available_at = now()")
        assert await d.outbox.sweep()
    assert await ids(d) == first
    record_property("seen", "4 events published 4 times each: 4 entries")


async def test_several_sweepers_write_an_event_once(domain: Domain) -> None:
    d = domain
    await answered(d)
    first = await ids(d)
    told = await _envelopes(d)
    await asyncio.gather(*(d.outbox._publish(told) for _ in range(8)))
    assert await ids(d) == first


async def _envelopes(d: Domain) -> list[Told]:
    payloads = await rows(d, "SELECT payload FROM outbox WHERE kind = 'event' ORDER BY id")
    return [one for row in payloads for one in decode(row["payload"])]


async def test_an_outgoing_event_is_written_once_over_an_epoch(domain: Domain) -> None:
    """A Redis with another run id (restarted on its data, promoted) begins an epoch: sockets may
    hear again what was told last, the stream of events may not.
    """
    d = domain
    await d.outbox.replay()  # of the first epoch
    await answered(d)
    first = await ids(d)
    await d.redis.hset(d.keys.epoch, "run", "another")
    assert await d.outbox.replay() > 4, "an epoch: what was told last is due again"
    while await d.outbox.sweep():
        pass
    assert await d.pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 0
    assert await ids(d) == first


async def test_a_dedup_key_holds_for_seven_days(
    later: Domain, clock: VirtualClock, record_property: Seen
) -> None:
    d = later
    async with d.outbox.change() as change:
        await members.ensure(d, change.conn, "u")

    async def told() -> int:
        async with d.outbox.change() as change:
            news = News("u", "sale", "t", "b", dedup_key="sale-1")
            return len(await writing.notify(d, change, [news]))

    assert [await told(), await told()] == [1, 0]
    clock.advance(7 * 86_400 - 1)
    assert await told() == 0
    clock.advance(1)
    assert [await told(), await told()] == [1, 0]
    clock.advance(7 * 86_400 - 1)
    assert await told() == 0, "it holds anew from its second time"
    clock.advance(1)
    assert await told() == 1
    record_property("seen", "after 604,799 s it holds, after 604,800 s no more")


async def woken(d: Domain) -> str:
    for name in ("bora", "chan"):
        await local(d, name)
    question = await verbs.ask(d, "mina", PHARMACY)
    assert await waves.tell_audience(d, question.id, 1) == 2
    return question.id


async def told_since(d: Domain, id: int) -> dict[str, tuple[str, ...]]:
    payloads = await rows(d, "SELECT payload FROM outbox WHERE kind = 'emit' AND id > $1", id)
    emits = [msgspec.msgpack.decode(row["payload"])["emit"] for row in payloads]
    return {emit["event"]: tuple(emit["rooms"]) for emit in emits}


async def last(d: Domain) -> int:
    return int(await d.pool.fetchval("SELECT coalesce(max(id), 0) FROM outbox"))


@pytest.mark.parametrize(("after_s", "wakes"), [(599, True), (600, False), (5000, False)])
async def test_an_answer_after_the_deadline_wakes_nobody(
    later: Domain, clock: VirtualClock, after_s: int, wakes: bool, record_property: Seen
) -> None:
    d = later
    id = await woken(d)
    before = await last(d)
    clock.advance(after_s)
    await verbs.answer(d, "bora", id, "여기요")
    told = await told_since(d, before)
    assert ("question:answered" in told, "question:retracted" in told) == (wakes, wakes)
    assert told["answer:created"] == ("user:mina", f"question:{id}"), "the asker hears of it"
    assert ("user:chan" in str(told)) == wakes
    row = (await rows(d, "SELECT urgent_state, first_answer_at FROM questions"))[0]
    assert (row["urgent_state"], row["first_answer_at"] is not None) == ("answered", True)
    assert (
        await d.pool.fetchval("SELECT count(*) FROM urgent_waves WHERE cancelled_at IS NULL") == 0
    )
    record_property("seen", f"an answer after {after_s} s tells those woken: {wakes}")


async def test_an_answer_that_is_told_after_the_deadline_wakes_nobody(
    later: Domain, clock: VirtualClock
) -> None:
    """Given in time, heard of too late: nothing of an urgent question leaves after its deadline."""
    d = later
    id = await woken(d)
    given, before = d.now() + timedelta(seconds=60), await last(d)
    clock.advance(700)
    fact = {"answerId": "a", "questionId": id, "answererId": "bora", "questionerId": "mina"}
    one = Envelope(event_id=uuid4(), event_type="answer.created", occurred_at=given, payload=fact)
    await intake.accept(d, SERVICE, [one])
    assert set(await told_since(d, before)) == {"answer:created", "inbox:unread"}
    assert await d.pool.fetchval("SELECT first_answer_at FROM questions") == given


@pytest.mark.parametrize("status", [QuestionStatus.CLOSED, QuestionStatus.DELETED])
async def test_a_close_after_the_deadline_wakes_nobody(
    later: Domain, clock: VirtualClock, status: QuestionStatus
) -> None:
    d = later
    id = await woken(d)
    before = await last(d)
    clock.advance(600)
    await verbs.close(d, "mina", id, status)
    told = await told_since(d, before)
    assert set(told) == {"question:closed", "question:unanswered"}
    assert told["question:unanswered"] == ("user:mina",), "its time was over before it was closed"


async def expiring(d: Domain, user_id: str, seconds: float | None, kind: str = "sale") -> None:
    at = None if seconds is None else d.now() + timedelta(seconds=seconds)
    async with d.outbox.change() as change:
        await members.ensure(d, change.conn, user_id)
        await writing.notify(d, change, [News(user_id, kind, "t", "b", expires_at=at)])


async def unread(d: Domain) -> dict[str, Any]:
    """On every road: how many are unread."""
    page = await inbox.page(d, "u", after=None, limit=100, unread_only=True, kind=None)
    synced = await inbox.sync(d, "u", 0, 100)
    count = await inbox.unread_count(d, "u")
    open_items = [
        item
        for item in synced.items
        if item.read_at is None
        and item.retracted_at is None
        and not item.deleted
        and (item.expires_at is None or item.expires_at > d.now())
    ]
    return {
        "count": count.count,
        "by kind": sum(count.by_kind.values()),
        "list": len(page.items),
        "unread of the list": page.unread,
        "sync": synced.unread,
        "items of sync": len(open_items),
        "ready": (await arrival.arrive(d, ["u"]))[0].unread,
        "seen": await verbs.mark_seen(d, "u", []),
        "read": await verbs.mark_read(d, "u", []),
    }


def all_are(figures: dict[str, Any], number: int) -> bool:
    assert figures == dict.fromkeys(figures, number)
    return True


async def test_an_expired_notification_is_not_unread_on_any_road(
    later: Domain, clock: VirtualClock, record_property: Seen
) -> None:
    d = later
    for seconds in (60, 60, 120, None):
        await expiring(d, "u", seconds)
    assert all_are(await unread(d), 4)
    clock.advance(60)
    figures = await unread(d)
    assert all_are(figures, 2)
    clock.advance(60)
    assert all_are(await unread(d), 1)
    before = await last(d)
    await expiring(d, "u", None, kind="other one")
    payloads = await rows(d, "SELECT payload FROM outbox WHERE kind = 'emit' AND id > $1", before)
    (told,) = [msgspec.msgpack.decode(row["payload"])["emit"]["data"] for row in payloads]
    assert (told["count"], told["byKind"]) == (2, {"other one": 1, "sale": 1})
    assert await verbs.mark_read(d, "u", [], before=d.now()) == 0
    assert all_are(await unread(d), 0)
    record_property("seen", f"2 of 4 expired: 2 unread by {', '.join(figures)}")


async def test_what_is_read_after_it_expired_is_counted_once(
    later: Domain, clock: VirtualClock
) -> None:
    d = later
    await expiring(d, "u", 60)
    await expiring(d, "u", None)
    clock.advance(61)
    items = (await inbox.sync(d, "u", 0, 100)).items
    expired = [item.id for item in items if item.expires_at is not None]
    assert await verbs.mark_read(d, "u", expired) == 1
    assert all_are(await unread(d), 1)
    await expiring(d, "u", None)
    assert all_are(await unread(d), 2)


async def test_one_that_was_expired_when_it_was_made_is_never_unread(later: Domain) -> None:
    await expiring(later, "u", -1)
    assert all_are(await unread(later), 0)


async def test_the_badge_of_a_push_counts_no_expired_one(
    later: Domain, clock: VirtualClock
) -> None:
    d = later
    await expiring(d, "u", 60)
    await verbs.add_device(d, "u", DeviceRequest(platform="ios", token="t" * 64))
    clock.advance(61)
    await expiring(d, "u", None)
    row = (await rows(d, "SELECT id, created_at FROM notifications ORDER BY created_at DESC"))[0]
    order = await steps.take_steps(d, Look(row["id"], row["created_at"], Channel.PUSH, 15))
    assert order is not None
    assert order.unread == 1


async def test_what_is_retracted_or_deleted_is_not_unread_on_any_road(
    later: Domain, clock: VirtualClock
) -> None:
    """Read before or after, expired or not: the head and the rows never part."""
    d = later
    await local(d, "u")
    for _ in range(3):
        await expiring(d, "u", None)
    question = await verbs.ask(d, "mina", PHARMACY)
    assert await waves.tell_audience(d, question.id, 1) == 1
    assert all_are(await unread(d), 4)
    await verbs.answer(d, "bora", question.id, "여기요")
    before = await last(d)
    await retraction.settle_pending(d, question.id, Reason.ANSWERED)
    told = await told_since(d, before)
    assert told == {"notification:updated": ("user:u",), "inbox:unread": ("user:u",)}
    assert all_are(await unread(d), 3)
    rows_ = await rows(d, "SELECT id, retracted_at FROM notifications WHERE user_id = 'u'")
    gone = [str(row["id"]) for row in rows_ if row["retracted_at"] is not None]
    first, second, _ = (str(row["id"]) for row in rows_ if row["retracted_at"] is None)
    assert await verbs.mark_read(d, "u", gone) == 3, "it was counted before"
    for id in (first, *gone):
        async with d.outbox.change() as change:
            await attention.delete(d, change, "u", id)
    assert all_are(await unread(d), 2)
    assert await verbs.mark_read(d, "u", [first, second]) == 1
    clock.advance(700)
    assert all_are(await unread(d), 1)
    assert await d.pool.fetchval("SELECT unread FROM inbox_heads WHERE user_id = 'u'") == 1
