"""Acknowledgements are gathered: one change for many people, and each hears its own count."""

import asyncio
from uuid import uuid4

import pytest

from hub.domain.context import Domain
from hub.domain.notifications.attention import Shown
from hub.domain.notifications.writing import News
from hub.domain.people import members
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.sockets.acks import GATHER_S, MOST, Acks
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.sockets.conftest import JEJU

URGENT = Ask(title="t", content="c", urgency="urgent", lat=JEJU[0], lng=JEJU[1])


async def people(d: Domain, number: int) -> list[str]:
    names = [f"p{n:04}" for n in range(number)]
    async with d.pool.acquire() as conn:
        await conn.execute(
            "INSERT INTO users (id, nickname) SELECT u, u FROM unnest($1::text[]) u", names
        )
        await members.ensure(d, conn, "mina")
    return names


async def changes(d: Domain) -> int:
    """Transactions that wrote, as their numbers say."""
    return int(await d.pool.fetchval("SELECT txid_snapshot_xmax(txid_current_snapshot())"))


async def test_a_thousand_people_within_a_moment_are_a_few_changes(domain: Domain) -> None:
    d, acks = domain, Acks(domain)
    names = await people(d, 1000)
    question = await verbs.ask(d, "mina", URGENT)
    before = await changes(d)
    mine = Shown("mina", (), (question.id,))
    counts = await asyncio.gather(
        *(acks.take(Shown(name, (), (question.id,))) for name in names),
        acks.take(mine),
    )
    assert set(counts) == {0}, "nobody was told by name"
    assert await changes(d) - before <= 1000 // MOST + 2
    rows = await d.pool.fetch("SELECT user_id FROM question_recipients WHERE wave = 1")
    assert sorted(row["user_id"] for row in rows) == names, "the asker is none of them"
    assert await d.pool.fetchval("SELECT acknowledged FROM urgent_waves WHERE wave = 1") == 1000
    await acks.take(Shown(names[0], (), (question.id,)))
    assert await d.pool.fetchval("SELECT acknowledged FROM urgent_waves WHERE wave = 1") == 1000


async def test_each_entry_has_its_own_count_and_nobody_elses_ids(domain: Domain) -> None:
    d, acks = domain, Acks(domain)
    one, two = await people(d, 2)
    told = {}
    for name in (one, two):
        (written,) = await verbs.notify(d, News(name, "sale", "t", "b"))
        told[name] = str(written.id)
    counts = await asyncio.gather(
        acks.take(Shown(one, (told[one], told[two], "no-id"), ())),
        acks.take(Shown(two, (str(uuid4()),), ())),
        acks.take(Shown("nobody", (told[one],), ("none",))),
    )
    assert list(counts) == [1, 0, 0]
    assert await acks.take(Shown(one, (told[one],), ())) == 0, "once"
    assert await acks.take(Shown(two, (told[two],), ())) == 1


async def test_an_urgent_one_is_acknowledged_by_its_id_and_by_its_question(domain: Domain) -> None:
    d, acks = domain, Acks(domain)
    one, two = await people(d, 2)
    question = await verbs.ask(d, "mina", URGENT)
    ids = {}
    for name in (one, two):
        news = News(name, QUESTION_URGENT.name, "t", "b", question_id=question.id)
        (written,) = await verbs.notify(d, news)
        ids[name] = written.id
        await d.pool.execute(
            "INSERT INTO question_recipients VALUES ($1, $2, 1, now(), NULL, $3)",
            question.id,
            name,
            written.id,
        )
    counts = await asyncio.gather(
        acks.take(Shown(one, (str(ids[one]),), (question.id,))),
        acks.take(Shown(two, (), (question.id,))),
    )
    assert list(counts) == [1, 1]
    assert await d.pool.fetchval("SELECT acknowledged FROM urgent_waves WHERE wave = 1") == 2
    shown = await d.pool.fetchval(
        "SELECT count(*) FROM notifications WHERE acknowledged_at IS NOT NULL"
    )
    assert shown == 2


async def test_nodes_at_once_wait_for_each_other_and_not_in_a_circle(domain: Domain) -> None:
    d = domain
    names = await people(d, 60)
    asked = [await verbs.ask(d, f"asker-{n}", URGENT) for n in range(4)]
    ids = tuple(one.id for one in asked)
    nodes = [Acks(d) for _ in range(4)]
    async with asyncio.timeout(20):
        for _ in range(3):
            await asyncio.gather(
                *(
                    node.take(Shown(name, (), ids[n:] + ids[:n]))
                    for n, node in enumerate(nodes)
                    for name in (names if n % 2 else names[::-1])
                )
            )
    figures = await d.pool.fetch("SELECT acknowledged FROM urgent_waves WHERE wave = 1")
    assert [row["acknowledged"] for row in figures] == [60] * 4


async def test_a_failure_is_everybodys_and_the_next_ones_go_on(domain: Domain) -> None:
    d, acks = domain, Acks(domain)
    (one,) = await people(d, 1)
    await d.pool.execute("ALTER TABLE notifications RENAME TO away")
    results = await asyncio.gather(
        *(acks.take(Shown(one, (), ())) for _ in range(2)), return_exceptions=True
    )
    assert all(isinstance(result, Exception) for result in results)
    await d.pool.execute("ALTER TABLE away RENAME TO notifications")
    start = asyncio.get_running_loop().time()
    assert await acks.take(Shown(one, (), ())) == 0
    assert asyncio.get_running_loop().time() - start >= GATHER_S * 0.9


@pytest.mark.parametrize("given_up", [True, False])
async def test_who_left_holds_up_nobody(domain: Domain, given_up: bool) -> None:
    acks = Acks(domain)
    (one,) = await people(domain, 1)
    leaving = asyncio.create_task(acks.take(Shown(one, (), ())))
    await asyncio.sleep(0)
    staying = asyncio.create_task(acks.take(Shown(one, (), ())))
    if given_up:
        leaving.cancel()
    assert await staying == 0
