"""Claims: k places, each for the length of a lease; while all are taken no wave begins."""

import asyncio

import pytest

from hub.domain import arrival
from protocol.errors import Code, HubError
from tests import verbs
from tests.hub.domain.questions.test_waves import with_policy
from tests.hub.domain.questions.town import PHARMACY, Town
from tests.hub.domain.test_flow import rows


async def refused(town: Town, name: str, question_id: str) -> Code:
    with pytest.raises(HubError) as error:
        await town.claim(name, question_id)
    return error.value.code


async def all_claimed(town: Town, question_id: str) -> None:
    for name in ("a", "b", "c"):
        await town.claim(name, question_id)


async def test_so_many_have_a_place_and_no_more(town: Town) -> None:
    id = await town.ask()
    states = [await town.claim(name, id) for name in ("a", "b", "c")]
    assert [one.claims for one in states] == [1, 2, 3]
    assert await town.state(id) == "claimed"
    assert await refused(town, "d", id) is Code.CONFLICT
    again = await town.claim("a", id)
    assert again.claims == 3, "who has a place renews it"
    heard = await town.told("question:claimed")
    assert [one["claims"] for one in heard] == [1, 2, 3, 3]
    assert set(heard[0]["rooms"]) == {f"question:{id}", "user:mina"}


async def test_of_many_at_once_three_win(town: Town) -> None:
    id = (await verbs.ask(town.d, "mina", PHARMACY)).id
    results = await asyncio.gather(
        *(town.claim(f"p{n}", id) for n in range(12)), return_exceptions=True
    )
    lost = [one for one in results if isinstance(one, HubError)]
    assert len(lost) == 9
    assert {one.code for one in lost} == {Code.CONFLICT}
    assert len(await rows(town.d, "SELECT * FROM question_claims")) == 3


async def test_who_may_not(town: Town) -> None:
    id = await town.ask()
    assert await refused(town, "mina", id) is Code.FORBIDDEN
    assert await refused(town, "a", "nothing") is Code.NOT_FOUND
    plain = await verbs.ask(town.d, "jiho", type(PHARMACY)(title="A", content="B"))
    assert await refused(town, "a", plain.id) is Code.NOT_FOUND
    await town.answer("bora", id)
    assert await refused(town, "a", id) is Code.CONFLICT
    other = await town.ask("second")
    town.clock.advance(600)
    assert await refused(town, "a", other) is Code.CONFLICT


async def test_while_all_places_are_taken_no_wave_begins(town: Town) -> None:
    id = await town.ask()
    await town.advance(100)
    await all_claimed(town, id)
    await town.advance(179)
    assert (await town.state(id), await town.begun(id)) == ("claimed", {1: 0})
    await town.advance(1)
    assert (await town.state(id), await town.begun(id)) == ("wave", {1: 0, 2: 280}), "a lapse"
    assert (await town.told("question:claimed"))[-1]["claims"] == 0


async def test_a_release_lets_a_due_wave_begin_at_once(town: Town) -> None:
    id = await town.ask()
    await town.advance(100)
    await all_claimed(town, id)
    await town.advance(90)
    assert (await town.release("b", id)).claims == 2
    assert await town.begun(id) == {1: 0, 2: 190}
    assert (await town.release("b", id)).claims == 2, "nothing to give back"
    assert [one["claims"] for one in await town.told("question:claimed")] == [1, 2, 3, 2]


async def test_before_a_waves_time_a_release_begins_none(town: Town) -> None:
    id = await town.ask()
    await all_claimed(town, id)
    await town.release("a", id)
    assert (await town.state(id), await town.begun(id)) == ("wave", {1: 0})
    await town.advance(180)
    assert await town.begun(id) == {1: 0, 2: 180}


async def test_renewed_claims_hold_until_they_lapse_and_the_widest_due_begins(town: Town) -> None:
    id = await town.ask()
    await town.advance(100)
    await all_claimed(town, id)
    await town.advance(150)
    await all_claimed(town, id)  # until 430
    await town.advance(179)
    assert await town.begun(id) == {1: 0}
    await town.advance(1)
    assert await town.begun(id) == {1: 0, 3: 430}


async def test_an_answer_frees_the_place(town: Town) -> None:
    id = await town.ask()
    await all_claimed(town, id)
    await town.answer("a", id)
    row = (await rows(town.d, "SELECT released_at FROM question_claims WHERE user_id = 'a'"))[0]
    assert row["released_at"] is not None


async def test_one_place_may_be_all(town: Town) -> None:
    with_policy(town, urgent_claims=1, urgent_claim_lease_s=30)
    id = await town.ask()
    await town.advance(170)
    await town.claim("a", id)
    assert await refused(town, "b", id) is Code.CONFLICT
    await town.advance(29)
    assert await town.begun(id) == {1: 0}
    await town.advance(1)
    assert await town.begun(id) == {1: 0, 2: 200}
    assert (await town.claim("b", id)).claims == 1


async def test_who_claims_is_in_the_questions_room_on_all_sockets(town: Town) -> None:
    id = await town.ask()
    await town.claim("a", id)
    assert f"question:{id}" in (await arrival.arrive(town.d, ["a"]))[0].rooms
    await town.release("a", id)
    assert f"question:{id}" not in (await arrival.arrive(town.d, ["a"]))[0].rooms
