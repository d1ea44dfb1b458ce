"""How an urgent question ends: answered and taken back everywhere, or not answered in time."""

from typing import Any

import msgspec

from hub.domain.notifications import delivery, steps
from hub.domain.notifications.steps import Look
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.hub.domain.questions.test_waves import cells, settle_town
from tests.hub.domain.questions.town import Town


def missed() -> float:
    return REGISTRY.get_sample_value("urgent_unanswered_total") or 0.0


async def events_out(town: Town, name: str) -> list[dict[str, Any]]:
    rows = await town.sql("SELECT payload FROM outbox WHERE kind = 'event' ORDER BY id")
    told = [one for row in rows for one in msgspec.msgpack.decode(row["payload"])["envelopes"]]
    return [one["payload"] for one in told if one["eventType"] == name]


async def channels(town: Town) -> list[tuple[str, str, str, str | None]]:
    rows = await town.sql(
        "SELECT user_id, channel, status, reason FROM deliveries WHERE channel <> 'socket'"
        " ORDER BY user_id, channel DESC"
    )
    return [(row["user_id"], row["channel"], row["status"], row["reason"]) for row in rows]


async def test_at_the_deadline_the_asker_and_services_are_told_once(town: Town) -> None:
    await settle_town(town)
    before = missed()
    town.twice = True
    id = await town.ask()
    await town.advance(599)
    assert (await town.state(id), missed()) == ("wave", before)
    await town.advance(1)
    assert (await town.state(id), missed()) == ("expired", before + 1)
    (heard,) = await town.told("question:unanswered")
    assert (heard["questionId"], heard["notified"], heard["rooms"]) == (id, 3, ["user:mina"])
    assert heard["deadlineAt"]
    (event,) = await events_out(town, "question.unanswered")
    assert (event["questionId"], event["notified"]) == (id, 3)
    assert await town.told("question:retracted") == [], "nothing leaves after the deadline"
    assert {row[2:] for row in await channels(town)} == {("expired", "expired")}


async def test_an_answer_that_the_asker_does_not_hear_of_stops_no_clock(town: Town) -> None:
    await settle_town(town)
    id = await town.ask()
    await verbs.block(town.d, "mina", "mid")
    await town.answer("mid", id)
    assert await town.state(id) == "wave"
    heard = await town.answer("near", id)
    assert await town.state(id) == "answered"
    await town.take_back(heard)
    assert await town.state(id) == "wave", "the only one that counted is gone"
    await town.advance(180)
    assert await town.begun(id) == {1: 0, 2: 180}
    assert "mid" not in await town.woken(id)


async def test_an_answer_before_the_deadlines_own_alarm_is_late_all_the_same(town: Town) -> None:
    before = missed()
    id = await town.ask()
    town.clock.advance(600)  # no worker ran
    await town.answer("bora", id)
    assert (await town.state(id), missed()) == ("answered", before + 1)
    assert len(await town.told("question:unanswered")) == 1
    await town.advance(10)
    assert missed() == before + 1


async def test_in_time_nothing_is_missed(town: Town) -> None:
    before = missed()
    id = await town.ask()
    await town.advance(599)
    await town.answer("bora", id)
    await town.advance(1000)
    assert (await town.state(id), missed()) == ("answered", before)
    assert await events_out(town, "question.unanswered") == []


async def test_an_answer_is_told_wherever_the_waves_were(town: Town) -> None:
    await settle_town(town)
    id = await town.ask()
    await town.advance(200)
    await town.answer("bora", id)
    (heard,) = await town.told("question:retracted")
    assert set(heard["rooms"]) == cells(5000) | {"user:near", "user:mid"}
    other = await town.ask("second")
    await town.advance(500)
    await verbs.close(town.d, "second", other)
    heard = (await town.told("question:retracted"))[-1]
    assert set(heard["rooms"]) == cells(5000) | {
        "region:jeju", "user:near", "user:mid", "user:far",
    }  # fmt: skip
    assert (heard["reason"], heard["except"]) == ("closed", ["user:second"])
    await town.advance(1000)
    assert len(await town.told("question:urgent")) == 5


async def test_what_is_pending_ends_with_the_answer_on_every_channel(town: Town) -> None:
    await settle_town(town)
    for name in ("near", "mid"):
        await verbs.add_device(
            town.d, name, DeviceRequest(platform="android", token=f"token-{name}")
        )
    id = await town.ask()
    await town.advance(180)
    rows = await town.sql("SELECT id, user_id, created_at FROM notifications")
    made = {row["user_id"]: row for row in rows}
    orders = {}
    for name in ("near", "mid"):
        one = made[name]
        orders[name] = await steps.take_steps(
            town.d, Look(one["id"], one["created_at"], Channel.PUSH, 15)
        )
    sent, under_way = orders["near"], orders["mid"]
    assert sent is not None
    assert under_way is not None
    await delivery.settle(town.d, sent, sent.targets[0], DeliveryStatus.SENT)
    town.ran.clear()
    await town.answer("bora", id)
    assert town.ran == ["urgent-retract"], "at once, and not when the jobs' time comes"
    assert await channels(town) == [
        ("mid", "push", "suppressed", "answered"),
        ("mid", "email", "suppressed", "answered"),
        ("near", "push", "sent", None),
        ("near", "email", "suppressed", "answered"),
    ]
    await delivery.settle(town.d, under_way, under_way.targets[0], DeliveryStatus.SENT)
    assert ("mid", "push", "sent", None) in await channels(town), "what went out went out"
    for one in made.values():
        order = await steps.take_steps(
            town.d, Look(one["id"], one["created_at"], Channel.EMAIL, 15)
        )
        assert order is None
    rows = await town.sql(
        "SELECT user_id, channel, reason FROM decisions WHERE verdict = 'suppressed'"
        " AND channel IS NOT NULL ORDER BY user_id, channel"
    )
    assert [tuple(row) for row in rows] == [
        ("mid", "email", Reason.ANSWERED),
        ("mid", "push", Reason.ANSWERED),
        ("near", "email", Reason.ANSWERED),
    ]


async def test_deleting_the_only_answer_in_time_resumes_the_waves(town: Town) -> None:
    await settle_town(town)
    id = await town.ask()
    await town.advance(100)
    first, second = await town.answer("bora", id), await town.answer("chan", id)
    await town.advance(200)
    await town.take_back(first)
    assert (await town.state(id), await town.begun(id)) == ("answered", {1: 0}), "one is left"
    await town.take_back(second)
    assert (await town.state(id), await town.begun(id)) == ("wave", {1: 0, 2: 300})
    await town.advance(120)
    assert await town.begun(id) == {1: 0, 2: 300, 3: 420}
    assert await town.woken(id) == {"near": 1, "mid": 2, "far": 3}
    await town.advance(180)
    assert await town.state(id) == "expired"


async def test_after_the_deadline_a_deleted_answer_resumes_nothing(town: Town) -> None:
    id = await town.ask()
    await town.advance(100)
    answer = await town.answer("bora", id)
    await town.advance(500)
    await town.take_back(answer)
    assert (await town.state(id), await town.begun(id)) == ("answered", {1: 0})


async def test_claims_that_live_on_hold_what_is_resumed(town: Town) -> None:
    id = await town.ask()
    await town.advance(150)
    for name in ("a", "b", "c"):
        await town.claim(name, id)
    answer = await town.answer("bora", id)
    await town.advance(50)
    await town.take_back(answer)
    assert (await town.state(id), await town.begun(id)) == ("claimed", {1: 0})
    await town.advance(130)
    assert (await town.state(id), await town.begun(id)) == ("wave", {1: 0, 2: 330})


async def test_an_answer_of_the_askers_own_stops_nothing(town: Town) -> None:
    id = await town.ask()
    await town.answer("mina", id)
    await town.advance(180)
    assert await town.begun(id) == {1: 0, 2: 180}
