"""A local server of each provider for each test, and messages to send."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from hub.plumbing.http.outbound import Outbound, PushServices
from protocol.web_push import read_vapid_key, to_base64url
from tests.fakes.apns import KEY_ID, TEAM_ID, TOPIC, FakeApns
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.fakes.webpush import FakePushService
from workers.channels.apns.bearer import ProviderTokens
from workers.channels.apns.sender import ApnsSender
from workers.channels.fcm.sender import FcmSender
from workers.channels.message import Message, Recipient
from workers.channels.smtp.message import Mail
from workers.channels.webpush.sender import WebPushSender
from workers.channels.webpush.vapid import Vapid

PUSH = Message(
    notification_id="7b0c1c7e-4a5a-4d52-9d3c-0a8f6f3f8a01",
    delivery_id="0d9d5c1e-22f6-5b9e-8a53-4f0f3b1f6c11",
    locale="ko",
    kind="question_urgent",
    title="애월읍 근처 급한 질문",
    body="지금 문 연 약국이 있을까요?",
    question_id="q-1",
    deadline_at=None,
    unread=3,
    url="https://dongne.example/questions/q-1",
    collapse_id="q-1",
    created_at=datetime(2026, 11, 21, 9, 0, tzinfo=UTC),
)
MAIL = Mail(
    to="minji@example.com",
    to_name="김민지",
    locale="ko",
    subject="질문에 답변이 달렸어요",
    text="안녕하세요.\n답변이 달렸어요.",
    html="<p>답변이 달렸어요.</p>",
    delivery_id="0d9d5c1e-22f6-5b9e-8a53-4f0f3b1f6c11",
)


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def fcm(tmp_path: Path) -> AsyncIterator[FakeFcm]:
    async with FakeFcm(tmp_path) as fake:
        yield fake


@pytest.fixture
async def smtp() -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp() as fake:
        yield fake


MakeFcmSender = Callable[..., FcmSender]


@pytest.fixture
async def fcm_sender(fcm: FakeFcm, session: aiohttp.ClientSession) -> AsyncIterator[MakeFcmSender]:
    """Makes senders that speak to the local FCM; closes them afterwards."""
    made: list[FcmSender] = []

    def make(**options: Any) -> FcmSender:
        sender = FcmSender(session, fcm.credentials_file, url=fcm.url, **options)
        made.append(sender)
        return sender

    yield make
    for sender in made:
        await sender.close()


APNS_TOKEN = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
MakeApnsSender = Callable[..., ApnsSender]


@pytest.fixture
async def apns(tmp_path: Path) -> AsyncIterator[FakeApns]:
    async with FakeApns(tmp_path) as fake:
        yield fake


@pytest.fixture
async def apns_sender(apns: FakeApns) -> AsyncIterator[MakeApnsSender]:
    """Makes senders that speak to the local APNs; closes them afterwards."""
    made: list[ApnsSender] = []

    def make(fake: FakeApns = apns, **options: Any) -> ApnsSender:
        tokens = ProviderTokens(fake.key_file, KEY_ID, TEAM_ID)
        urls = options.pop("urls", dict.fromkeys(("production", "sandbox"), fake.url))
        made.append(ApnsSender(tokens, TOPIC, urls, **{"timeout_s": 5.0} | options))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


def phone(token: str = APNS_TOKEN, **changes: Any) -> Recipient:
    return Recipient(token, **{"platform": "ios", "environment": "production"} | changes)


VAPID_KEY = to_base64url(bytes(range(1, 33)))
VAPID = Vapid(read_vapid_key(VAPID_KEY), "mailto:people@dongne.example")
LOCAL = PushServices(("127.0.0.1", "localhost"), Outbound(["127.0.0.0/8"]))
MakeWebPushSender = Callable[..., WebPushSender]


@pytest.fixture
async def push_service() -> AsyncIterator[FakePushService]:
    async with FakePushService() as fake:
        yield fake


@pytest.fixture
async def webpush_sender() -> AsyncIterator[MakeWebPushSender]:
    made: list[WebPushSender] = []

    def make(services: PushServices = LOCAL, **options: Any) -> WebPushSender:
        made.append(WebPushSender(VAPID, services, **{"timeout_s": 5.0} | options))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


def browser(subscription: str) -> Recipient:
    return to(subscription, "web")


def to(address: str, platform: str = "android", environment: str = "production") -> Recipient:
    return Recipient(address, platform, environment)


def push(**changes: Any) -> Message:
    return structs.replace(PUSH, **changes)


def mail(**changes: Any) -> Mail:
    return replace(MAIL, **changes)
