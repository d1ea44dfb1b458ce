"""A local FCM and a local SMTP server for each test, and messages to send."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from workers.channels.fcm.sender import FcmSender
from workers.channels.message import Message, Recipient
from workers.channels.smtp.message import Mail

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


def to(address: str, platform: str = "android", environment: str = "production") -> Recipient:
    return Recipient(address, platform, environment)


def push(**changes: Any) -> Message:
    return replace(PUSH, **changes)


def mail(**changes: Any) -> Mail:
    return replace(MAIL, **changes)
