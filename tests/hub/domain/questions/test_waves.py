"""Waves: when each begins, whom it tells, and that nobody is told twice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from hub.domain import intake
from hub.domain.context import Domain
from hub.domain.places import geometry
from hub.domain.questions import nearby, progress
from hub.domain.questions.waves import broadcast_id
from hub.domain.rules.audience import PlannedWave
from protocol.domain_events import Envelope
from protocol.names import cell_room
from tests import verbs
from tests.hub.domain.questions.town import KM, PHARMACY, PLACE, Town
from tests.hub.domain.test_flow import SERVICE


async def settle_town(town: Town) -> None:
    await town.person("near", 0.3)
    await town.person("mid", 4)
    await town.person("far", 14)


def with_policy(town: Town, **figures: Any) -> None:
    town.d = replace(town.d, policy=replace(town.d.policy, **figures))


def cells(radius_m: int) -> set[str]:
    found = geometry.cells_touching(*PLACE, radius_m)
    return {cell_room(geometry.cell_text(cell)) for cell in found}


async def test_waves_widen_until_the_region_and_tell_nobody_twice(town: Town) -> None:
    await settle_town(town)
    id = await town.ask()
    assert await town.woken(id) == {"near": 1}
    await town.advance(179)
    assert await town.begun(id) == {1: 0}
    await town.advance(1)
    assert await town.woken(id) == {"near": 1, "mid": 2}
    await town.advance(240)
    assert await town.begun(id) == {1: 0, 2: 180, 3: 420}
    assert await town.woken(id) == {"near": 1, "mid": 2, "far": 3}

    first, second, third = await town.told("question:urgent")
    assert set(first["rooms"]) == cells(2000)
    assert set(second["rooms"]) == cells(5000) - cells(2000)
    assert third["rooms"] == ["region:jeju"]
    assert set(third["except"]) == {"user:mina", "mute:yeon"} | cells(5000)
    assert [one["id"] for one in (first, second, third)] == [
        broadcast_id(id, wave) for wave in (1, 2, 3)
    ]
    assert [one["radiusM"] for one in (first, second, third)] == [2000, 5000, None]


async def test_the_asker_hears_how_far_each_wave_came(town: Town) -> None:
    await settle_town(town)
    id = await town.ask()
    await verbs.acknowledge(town.d, "near", [], [id])
    await town.advance(420)
    heard = await town.told("question:wave")
    assert [(one["wave"], one["told"], one["acknowledged"]) for one in heard] == [
        (1, 1, 0),
        (2, 2, 1),
        (3, 3, 1),
    ]
    rows = await town.sql("SELECT due_at FROM urgent_waves ORDER BY wave")
    said = [one["nextAt"] for one in heard]
    assert said[2] is None
    assert [str(at).startswith(row["due_at"].strftime("%Y-%m-%dT%H:%M:%S")) for at, row in
            zip(said[:2], rows[1:], strict=True)] == [True, True]  # fmt: skip
    assert all(one["rooms"] == ["user:mina"] for one in heard)


async def test_a_wave_has_so_many_places_and_the_suppressed_take_none(town: Town) -> None:
    with_policy(town, urgent_max_recipients=2)
    for number in (3, 2, 1, 0):
        town.clock.advance(1)  # p0 was here last
        await town.person(f"p{number}", 0.1)
    await town.person("stranger", 0.1, verified=False)
    await town.sql(
        "UPDATE notification_preferences SET urgent_enabled = false WHERE user_id = 'p0'"
    )
    id = await town.ask()
    assert await town.woken(id) == {"p1": 1, "p2": 1}
    await town.advance(180)
    assert await town.woken(id) == {"p1": 1, "p2": 1, "p3": 2, "stranger": 2}
    rows = await town.sql(
        "SELECT user_id, reason, detail->>'wave' AS wave FROM decisions WHERE channel IS NULL"
    )
    reasons = {(row["user_id"], int(row["wave"])): row["reason"] for row in rows}
    assert reasons == {
        ("p0", 1): "topic_off", ("p1", 1): "ranked", ("p2", 1): "ranked",
        ("p3", 1): "cap_wave", ("stranger", 1): "cap_wave",
        ("p0", 2): "topic_off", ("p1", 2): "told_before", ("p2", 2): "told_before",
        ("p3", 2): "ranked", ("stranger", 2): "ranked",
    }  # fmt: skip


async def test_verified_then_near_then_lately_active(town: Town) -> None:
    with_policy(town, urgent_max_recipients=1)
    await town.person("close-stranger", 0.1, verified=False)
    await town.person("idle", 0.1)
    town.clock.advance(60)
    await town.person("active", 0.1)
    await town.person("farther", 1.3)
    order = []
    for number in range(4):
        id = await town.ask(f"asker-{number}")
        (who,) = await town.woken(id)
        order.append(who)
        await town.sql("DELETE FROM user_locations WHERE user_id = $1", who)
    assert order == ["active", "idle", "farther", "close-stranger"]


async def test_nobody_is_woken_from_farther_than_they_asked_for(town: Town) -> None:
    await town.person("homebody", 4, radius_m=2000)
    await town.person("nowhere", None)
    id = await town.ask()
    await town.advance(500)
    assert await town.woken(id) == {}
    rows = await town.sql("SELECT user_id, reason FROM decisions")
    assert {(row["user_id"], row["reason"]) for row in rows} == {("homebody", "outside_radius")}


async def told_late(town: Town, seconds: float) -> str:
    event = Envelope(
        event_id=uuid4(),
        event_type="question.created",
        occurred_at=town.d.now() - timedelta(seconds=seconds),
        payload={
            "questionId": f"q-{seconds}",
            "userId": f"asker-{seconds}",
            "urgency": "urgent",
            "title": "약국?",
            "location": {"lat": PLACE[0], "lng": PLACE[1]},
        },
    )
    await intake.accept(town.d, SERVICE, [event])
    await town.advance(0)
    return f"q-{seconds}"


@pytest.mark.parametrize(("late_s", "first"), [(10, 1), (180, 2), (300, 2), (420, 3), (599, 3)])
async def test_a_late_event_begins_with_the_widest_wave_due(
    town: Town, late_s: int, first: int
) -> None:
    await settle_town(town)
    id = await told_late(town, late_s)
    assert await town.begun(id) == {first: late_s}
    reached = {1: {"near"}, 2: {"near", "mid"}, 3: {"near", "mid", "far"}}[first]
    assert await town.woken(id) == dict.fromkeys(reached, first)
    (heard,) = await town.told("question:urgent")
    assert set(heard["rooms"]) == (
        {"region:jeju"} if first == 3 else cells((2000, 5000)[first - 1])
    )
    assert set(heard["except"]) == {f"user:asker-{late_s}", "mute:yeon"}
    await town.advance(600 - late_s - 1)
    assert set(await town.begun(id)) == set(range(first, 4))


async def test_after_its_deadline_it_is_an_ordinary_question(town: Town) -> None:
    await settle_town(town)
    id = await told_late(town, 600)
    await town.advance(1000)
    assert (await town.begun(id), await town.woken(id)) == ({}, {})
    assert await town.told("question:urgent") == await town.told("question:unanswered") == []
    assert await town.state(id) == "expired"


async def test_a_first_wave_may_wait(town: Town) -> None:
    with_policy(town, waves=(PlannedWave(60, 2000),))
    await settle_town(town)
    id = await town.ask()
    assert (await town.state(id), await town.begun(id)) == ("open", {})
    await town.advance(60)
    assert (await town.state(id), await town.begun(id)) == ("wave", {1: 60})


async def test_an_alarm_that_rings_early_rings_again(town: Town) -> None:
    id = await town.ask()
    due = town.d.now() + timedelta(seconds=180)
    await town.sql("DELETE FROM pgqueuer")
    await progress.look(town.d, id, due)
    assert await town.begun(id) == {1: 0}
    await town.advance(180)
    assert await town.begun(id) == {1: 0, 2: 180}


async def test_alarms_twice_and_out_of_order_do_no_harm(town: Town) -> None:
    await settle_town(town)
    town.twice = True
    id = await town.ask()
    town.clock.advance(430)  # no worker ran: both alarms are due, the later one rings first
    for seconds in (420, 180, 420):
        await progress.look(town.d, id, town.d.now() - timedelta(seconds=430 - seconds))
    await town.advance(0)
    assert await town.begun(id) == {1: 0, 3: 430}, "the widest covers what was passed over"
    assert await town.woken(id) == {"near": 1, "mid": 3, "far": 3}
    assert len(await town.told("question:urgent")) == 2


async def test_a_wave_that_dies_half_way_is_gone_on_with(town: Town) -> None:
    with_policy(town, urgent_max_recipients=150)
    await town.d.pool.execute(
        "INSERT INTO users (id, nickname) SELECT 'u' || n, 'u' FROM generate_series(1, 300) n"
    )
    await town.d.pool.execute("INSERT INTO notification_preferences (user_id) SELECT id FROM users")
    await town.d.pool.execute(
        "INSERT INTO user_locations (user_id, cell, region_code, expires_at)"
        " SELECT id, $1, 'jeju', now() + interval '1 day' FROM users",
        geometry.cell_of(*PLACE),
    )
    question = await verbs.ask(town.d, "mina", PHARMACY)
    town.lives = 1  # the first hundred are told, the others lost
    await town.advance(0)
    assert town.died == 1
    assert len(await town.woken(question.id)) == 150
    (row,) = await town.sql("SELECT count(*) AS n, (SELECT recipients FROM urgent_waves"
                            " WHERE wave = 1) AS counted FROM notifications")  # fmt: skip
    assert (row["n"], row["counted"]) == (150, 150)


async def test_the_first_in_rank_are_told_in_whatever_ring_of_cells_they_are(town: Town) -> None:
    """Every third is verified, every fourth asks to be woken for what is within 500 m only."""
    with_policy(town, waves=(PlannedWave(0, 5000),), urgent_max_recipients=9)
    for n in reversed(range(24)):
        town.clock.advance(1)  # of two in one cell the nearer one was here last
        radius_m = 500 if n % 4 == 1 else 20_000
        await town.person(f"p{n:02}", n * 0.2, verified=n % 3 == 0, radius_m=radius_m)
    id = await town.ask()
    verified = [f"p{n:02}" for n in (0, 3, 6, 12, 15, 18)]
    assert sorted(await town.woken(id)) == sorted([*verified, "p01", "p02", "p04"])


async def open_at(d: Domain, km: float) -> list[tuple[str, str]]:
    """What somebody who enters there is told: by their cell, or else by the region."""
    cell = geometry.room_of_cell(geometry.cell_of(PLACE[0] - km * KM, PLACE[1]))
    of_cell, of_region = await nearby.open_in(d, [cell, "region:jeju"])
    heard = [("cell", one.id) for one in of_cell]
    for one in of_region:
        if cell not in one.except_rooms:
            heard.append(("region", one.id))
    return heard


async def test_who_enters_later_is_told_by_exactly_one_wave(town: Town) -> None:
    id = await town.ask()
    near, mid, far = 0.3, 4, 14
    wave = {number: broadcast_id(id, number) for number in (1, 2, 3)}

    async def heard() -> list[list[tuple[str, str]]]:
        return [await open_at(town.d, km) for km in (near, mid, far)]

    assert await heard() == [[("cell", wave[1])], [], []]
    await town.advance(180)
    assert await heard() == [[("cell", wave[1])], [("cell", wave[2])], []]
    await town.advance(240)
    assert await heard() == [
        [("cell", wave[1])],
        [("cell", wave[2])],
        [("region", wave[3])],
    ]
    await town.answer("bora", id)
    assert await heard() == [[], [], []]
