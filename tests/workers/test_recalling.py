"""What was pushed is taken back from the screens: it is over, or was read somewhere else."""

import asyncio
import time
from typing import Any

import pytest

from hub.domain.context import Domain
from hub.domain.notifications import attention, delivery, retraction
from hub.domain.rules.kinds import QUESTION_URGENT, Channel
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.sockets.assembly import open_hub
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.hub.sockets.conftest import Client, Running
from tests.workers.conftest import Shift, add_person, deliveries, notify
from tests.workers.test_late_outcomes import PHARMACY, claim, near
from workers.channels.provider import Providers
from workers.runner import run_worker


def silent(fcm: FakeFcm) -> list[tuple[str, str, str]]:
    """Token, collapse id and badge of each silent message, in order."""
    found = []
    for one in fcm.received:
        message: dict[str, Any] = one["message"]
        if "notification" not in message:
            unread = message["data"]["unread"]
            found.append((one["token"], message["android"]["collapse_key"], unread))
    return found


async def taken_back(d: Domain) -> int:
    return int(
        await d.pool.fetchval("SELECT count(*) FROM deliveries WHERE retracted_at IS NOT NULL")
    )


async def delete(d: Domain, user_id: str, id: str) -> None:
    async with d.outbox.change() as change:
        await attention.delete(d, change, user_id, id)


@pytest.mark.parametrize("end", ["answered", "closed", "expired"])
async def test_an_urgent_question_that_is_over_leaves_the_phones_it_was_pushed_to(
    shift: Shift, fcm: FakeFcm, end: str
) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    await near(d, "chan")
    await verbs.add_device(d, "chan", DeviceRequest(platform="web", token=SUBSCRIPTION))
    question = await verbs.ask(d, "mina", PHARMACY)
    await shift.advance(5)
    assert {one["token"] for one in fcm.received} == {"token-bora-0", "token-chan-0"}
    new = DeviceRequest(platform="android", token="registered-later")
    await verbs.add_device(d, "bora", new)
    if end == "answered":
        await verbs.answer(d, "dana", question.id, "여기요")
    elif end == "closed":
        await verbs.close(d, "mina", question.id)
    await shift.advance(600 if end == "expired" else 0.9)
    assert sorted(silent(fcm)) == [
        ("token-bora-0", question.id, "0"),
        ("token-chan-0", question.id, "0"),
    ]
    assert await taken_back(d) == 2
    rows = await d.pool.fetch("SELECT seq, retracted_at FROM notifications WHERE user_id <> 'mina'")
    assert {(row["seq"], row["retracted_at"] is None) for row in rows} == {(2, False)}
    heads = await d.pool.fetch("SELECT unread FROM inbox_heads WHERE user_id <> 'mina'")
    assert [row["unread"] for row in heads] == [0, 0]
    await shift.advance(1000)
    assert len(silent(fcm)) == 2, "once"


SUBSCRIPTION = (
    '{"endpoint":"https://fcm.googleapis.com/wp/x","keys":{"p256dh":"'
    "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM"
    '","auth":"tBHItJI5svbpez7KI4CCXg"}}'
)


async def test_a_push_that_was_under_way_at_the_answer_is_taken_back_once_it_is_out(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    question = await verbs.ask(d, "mina", PHARMACY)
    fcm.arm(Fault("send", action="hold"))
    waves = asyncio.create_task(shift.advance())
    await fcm.wait_held(5)
    await verbs.answer(d, "dana", question.id, "여기요")
    assert await retraction.settle_pending(d, question.id, Reason.ANSWERED) == 2
    fcm.release()
    await waves
    await shift.advance()
    assert ("push", "sent", None) in await deliveries(d, "push")
    assert silent(fcm) == [("token-bora-0", question.id, "0")]


async def test_what_is_read_or_deleted_leaves_every_phone_and_ends_what_is_pending(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=2)
    read, deleted, seen = [await notify(d, "bora") for _ in range(3)]
    await shift.advance(10)
    assert len(fcm.received) == 6
    await verbs.mark_read(d, "bora", [str(read.id)])
    await delete(d, "bora", str(deleted.id))
    await verbs.mark_seen(d, "bora", [str(seen.id)])
    await shift.advance(0.5)
    ids = [str(one.id) for one in (read, deleted, seen)]
    assert sorted(silent(fcm)) == sorted(
        (f"token-bora-{n}", id, "1") for n in range(2) for id in ids
    )
    assert sorted(await deliveries(d, "email")) == [
        ("email", "suppressed", "erased"),
        ("email", "suppressed", "seen"),
        ("email", "suppressed", "seen"),
    ]
    await verbs.mark_read(d, "bora", [str(seen.id)])
    await shift.advance(700)
    assert len(silent(fcm)) == 6, "each once, however often it is marked"


async def test_nothing_is_sent_to_whom_nothing_was_shown(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora", online=True)
    await verbs.mark_read(d, "bora", [str(told.id)])
    await shift.advance(700)
    assert fcm.received == []
    assert "push-retract:normal" not in shift.ran
    assert {row[1:] for row in await deliveries(d)} == {("suppressed", "seen")}


async def test_a_phone_that_is_gone_or_somebody_elses_is_left_alone(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    moved, signed_out, dead = await add_person(d, "bora", devices=3)
    await add_person(d, "next", devices=0)
    told = await notify(d, "bora")
    await shift.advance(1)
    await verbs.add_device(d, "next", DeviceRequest(platform="android", token=moved))
    await d.pool.execute("UPDATE devices SET disabled_at = now() WHERE token = $1", signed_out)
    fcm.unregistered.add(dead)
    await verbs.mark_read(d, "bora", [str(told.id)])
    await shift.advance(1)
    assert silent(fcm) == []
    rows = await d.pool.fetch("SELECT token, disabled_reason FROM devices ORDER BY token")
    assert (dead, "token_dead") in [tuple(row) for row in rows]
    assert (moved, None) in [tuple(row) for row in rows]


async def test_a_provider_in_trouble_is_asked_again_and_nothing_is_held(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora")
    await shift.advance(1)
    fcm.arm(Fault("send", "answer", status=503))
    await verbs.mark_read(d, "bora", [str(told.id)])
    await shift.advance(5)
    assert len(silent(fcm)) == 1
    other = await notify(d, "bora")
    await shift.advance(1)
    fcm.arm(Fault("send", "answer", status=503, times=3))
    await verbs.mark_read(d, "bora", [str(other.id)])
    await shift.advance(30)
    assert (len(silent(fcm)), shift.held) == (1, [])


async def test_a_retraction_reaches_no_row_that_is_not_over(shift: Shift, fcm: FakeFcm) -> None:
    """An acknowledgement ends the push that is pending, and leaves the screen alone."""
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora", kind=QUESTION_URGENT.name)
    order = await claim(d, told, Channel.PUSH, 15)
    await delivery.settle(d, order, order.targets[0], DeliveryStatus.SENT)
    await verbs.acknowledge(d, "bora", [str(told.id)])
    await shift.advance(5)
    assert fcm.received == []


async def test_reading_on_one_socket_is_known_everywhere_within_a_second(
    life: Lifecycle, settings: Settings, domain: Domain, providers: Providers, fcm: FakeFcm
) -> None:
    """Issue 12, must show 7, on the real runner and sockets."""
    door = await open_hub(life, settings, domain)
    hub = Running(door, domain, life, await door.start("127.0.0.1", 0))
    await run_worker(life, settings, domain, providers)
    await add_person(domain, "bora")
    pushed = await notify(domain, "bora")
    await fcm.wait(lambda: len(fcm.received) == 1, 5)
    reader, other = Client(), Client()
    for client in (reader, other):
        await client.enter(hub, hub.token("bora"), recovery=False)
        await client.next("ready")
    waiting = await notify(domain, "bora")
    ids = {str(pushed.id), str(waiting.id)}
    start = time.monotonic()
    answer = await reader.call("notification:read", {"ids": sorted(ids)})
    assert answer == {"ok": True, "unread": 0}
    updated = await other.next("notification:updated")
    assert (set(updated["ids"]), updated["state"]) == (ids, "read")
    await fcm.wait(lambda: len(silent(fcm)) == 1, 1)
    assert silent(fcm) == [("token-bora-0", str(pushed.id), "0")]
    async with asyncio.timeout(1):
        while (await deliveries(domain)).count(("email", "suppressed", "seen")) < 2:
            await asyncio.sleep(0.01)
    assert time.monotonic() - start < 1
    assert ("push", "suppressed", "seen") in await deliveries(domain)
    await reader.call("inbox:sync", {})
    assert "notification:updated" not in reader.names(), "who acted knows"
    for client in (reader, other):
        await client.close()
