"""One notification for somebody with a phone of each platform and a browser: each by its own
provider, through the worker's own way, and taken back where a silent message can do that."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.domain.context import Domain
from hub.domain.rules.kinds import QUESTION_URGENT
from protocol.errors import HubError
from protocol.rest.devices import DeviceRequest
from protocol.web_push import public_text, read_vapid_key, to_base64url
from tests import verbs
from tests.fakes.apns import KEY_ID, TEAM_ID, TOPIC, FakeApns, taken
from tests.fakes.fcm import FakeFcm
from tests.fakes.kakao import FakeKakao
from tests.fakes.webpush import FakePushService
from tests.workers.conftest import Shift, add_person, deliveries, notify
from workers.channels.message import Recipient

VAPID_KEY = to_base64url(bytes(range(1, 33)))
PUBLIC_KEY = public_text(read_vapid_key(VAPID_KEY))
IPHONE, OLD_IPHONE, GALAXY = "aa" * 32, "bb" * 32, "token-galaxy"


@pytest.fixture
async def apns(tmp_path: Path) -> AsyncIterator[FakeApns]:
    async with FakeApns(tmp_path) as fake:
        yield fake


@pytest.fixture
async def service() -> AsyncIterator[FakePushService]:
    async with FakePushService() as fake:
        yield fake


@pytest.fixture
async def kakao() -> AsyncIterator[FakeKakao]:
    async with FakeKakao() as fake:
        yield fake


@pytest.fixture
def environ(
    environ: dict[str, str], apns: FakeApns, service: FakePushService, kakao: FakeKakao
) -> dict[str, str]:
    return {
        **environ,
        "APNS_KEY_FILE": str(apns.key_file),
        "APNS_KEY_ID": KEY_ID,
        "APNS_TEAM_ID": TEAM_ID,
        "APNS_TOPIC": TOPIC,
        "APNS_URL": apns.url,
        "VAPID_PRIVATE_KEY": VAPID_KEY,
        "VAPID_SUBJECT": "mailto:people@dongne.example",
        "WEBPUSH_HOSTS": "127.0.0.1",
        "OUTBOUND_ALLOW": "127.0.0.1",
        "KAKAO_MESSAGE_URL": kakao.message_url,
        "KAKAO_MESSAGE_TOKEN": kakao.token,
        "PUSH_TIMEOUT": "5000",
    }


async def register(d: Domain, platform: Any, token: str, **more: Any) -> None:
    await verbs.add_device(d, "bora", DeviceRequest(platform=platform, token=token, **more))


async def test_each_platform_is_pushed_by_its_own_provider_and_retracted_where_that_can_be(
    shift: Shift, fcm: FakeFcm, apns: FakeApns, service: FakePushService
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    id, subscription = service.subscribe(PUBLIC_KEY)
    await register(d, "ios", IPHONE)
    await register(d, "android", GALAXY)
    await register(d, "web", subscription)
    told = await notify(d, "bora", kind=QUESTION_URGENT.name)
    await shift.advance()
    assert [taken(one) for one in apns.received] == [(IPHONE, "alert")]
    assert [one["token"] for one in fcm.received] == [GALAXY]
    assert [one["id"] for one in service.received] == [id]
    assert await deliveries(d, "push") == [("push", "sent", None)] * 3
    assert apns.received[0]["payload"]["notificationId"] == str(told.id)
    assert service.received[0]["payload"]["data"]["notificationId"] == str(told.id)

    collapse_id = apns.received[0]["headers"]["apns-collapse-id"]
    await verbs.mark_read(d, "bora", [str(told.id)])
    await shift.advance()
    assert [taken(one) for one in apns.received[1:]] == [(IPHONE, "background")]
    assert apns.received[1]["headers"]["apns-collapse-id"] == collapse_id
    assert [one["token"] for one in fcm.received[1:]] == [GALAXY]
    assert fcm.received[1]["message"]["android"]["collapse_key"] == collapse_id
    assert "notification" not in fcm.received[1]["message"]
    assert len(service.received) == 1


async def recipients(d: Domain) -> list[Recipient]:
    rows = await d.pool.fetch("SELECT * FROM devices ORDER BY platform")
    return [
        Recipient(row["token"], row["platform"], row["environment"], row["last_seen_at"])
        for row in rows
    ]


async def disabled(d: Domain) -> set[str]:
    rows = await d.pool.fetch("SELECT token FROM devices WHERE disabled_at IS NOT NULL")
    return {row["token"] for row in rows}


async def test_what_each_provider_says_of_a_dead_token_costs_that_device_alone(
    shift: Shift, fcm: FakeFcm, apns: FakeApns, service: FakePushService
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    id, subscription = service.subscribe(PUBLIC_KEY)
    other_id, other = service.subscribe(PUBLIC_KEY)
    await register(d, "ios", IPHONE)
    await register(d, "ios", OLD_IPHONE)
    await register(d, "android", GALAXY)
    await register(d, "web", subscription)
    await register(d, "web", other)
    later = datetime.now(UTC) + timedelta(hours=1)
    apns.unregistered[OLD_IPHONE] = int(later.timestamp() * 1000)
    fcm.unregistered.add(GALAXY)
    service.gone.add(id)
    await notify(d, "bora")
    await shift.advance()
    gone = await disabled(d)
    assert gone == {OLD_IPHONE, GALAXY, DeviceRequest(platform="web", token=subscription).token}
    assert [one["token"] for one in apns.received] == [IPHONE]
    assert [one["id"] for one in service.received] == [other_id]


async def test_a_phone_that_has_the_app_again_is_not_disabled_by_older_news(
    shift: Shift, apns: FakeApns
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    await register(d, "ios", IPHONE)
    apns.unregistered[IPHONE] = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
    await notify(d, "bora")
    await shift.advance()
    assert apns.pushes == 1
    assert await disabled(d) == set()
    apns.unregistered.clear()
    await shift.advance(10)
    assert [one["token"] for one in apns.received] == [IPHONE]


async def test_a_message_goes_to_kakaotalk_where_no_device_was_reached(
    shift: Shift, kakao: FakeKakao
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    await d.pool.execute("UPDATE users SET kakao_user_key = 'abcdefg0001' WHERE id = 'bora'")
    await d.pool.execute("UPDATE notification_preferences SET kakao_enabled = true")
    await notify(d, "bora")
    await shift.advance()
    assert [one["receiver"] for one in kakao.received] == ["abcdefg0001"]
    assert await deliveries(d, "kakao") == [("kakao", "sent", None)]


async def test_one_subscription_is_one_device_however_it_is_written(
    shift: Shift, service: FakePushService
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    _, subscription = service.subscribe(PUBLIC_KEY)
    await register(d, "web", subscription)
    await register(d, "web", subscription.replace(" ", "  ").replace("null", "1234"))
    assert len(await recipients(d)) == 1


async def test_a_browser_at_no_push_service_is_refused(shift: Shift) -> None:
    d = shift.desk.domain
    async with FakePushService(host="localhost") as elsewhere:
        _, subscription = elsewhere.subscribe(PUBLIC_KEY)
        with pytest.raises(HubError, match="no push service") as caught:
            await register(d, "web", subscription)
    assert caught.value.code == "INVALID_PAYLOAD"
    assert "/push/" not in str(caught.value)
