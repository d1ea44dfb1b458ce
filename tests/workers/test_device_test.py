"""POST /devices/{id}/test: a push to this device and no other, in its language."""

import pytest

from hub.domain.context import Domain
from hub.domain.people import devices
from protocol.errors import HubError
from tests.fakes.fcm import FakeFcm
from tests.workers.conftest import Shift, add_person, notify


async def ask(d: Domain, user_id: str, device_id: str) -> str:
    async with d.outbox.change() as change:
        return (await devices.test_device(change, user_id, device_id)).notification_id


async def first(d: Domain, user_id: str) -> str:
    return (await devices.devices(d, user_id))[0].id


async def test_one_device_is_pushed_to_whatever_the_rules_say(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    token, _ = await add_person(d, "bora", devices=2)
    await d.pool.execute("UPDATE notification_preferences SET push_enabled = false")
    await d.pool.execute("UPDATE devices SET locale = 'en-GB' WHERE token = $1", token)
    await notify(d, "bora")
    id = await ask(d, "bora", await first(d, "bora"))
    await shift.advance()
    (one,) = fcm.received
    assert one["token"] == token
    assert one["message"]["notification"]["title"] == "This is a test"
    data = one["message"]["data"]
    assert (data["notificationId"], data["kind"], data["unread"]) == (id, "device_test", "1")
    assert await d.pool.fetchval("SELECT count(*) FROM notifications") == 1


async def test_a_token_that_is_dead_is_found_out(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    (token,) = await add_person(d, "bora")
    fcm.unregistered.add(token)
    id = await first(d, "bora")
    await ask(d, "bora", id)
    await shift.advance()
    with pytest.raises(HubError, match="disabled") as caught:
        await ask(d, "bora", id)
    assert caught.value.code == "CONFLICT"


async def test_somebody_elses_device_is_not_found(shift: Shift) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    await add_person(d, "chan", devices=0)
    for user_id, id in (("chan", await first(d, "bora")), ("bora", "no-id")):
        with pytest.raises(HubError) as caught:
            await ask(d, user_id, id)
        assert caught.value.code == "NOT_FOUND"
