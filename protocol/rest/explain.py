"""Why a person was told, or was not."""

from datetime import datetime
from typing import Any
from uuid import UUID

from protocol.payload import Id, Message, Request


class ExplainQuery(Request):
    """Either `questionId` or `eventId`."""

    user_id: Id
    question_id: Id | None = None
    event_id: UUID | None = None


class Decision(Message):
    """One decision; no channel: about a candidate of a wave. `detail` holds figures (wave, metres,
    seconds, a provider's code), no texts.
    """

    at: datetime
    verdict: str
    reason: str
    channel: str | None
    notification_id: str | None
    detail: dict[str, Any]


class Try(Message):
    """What came of one channel, on one device where it has some. `takenBackAt`: the phone was
    handed the silent message."""

    channel: str
    status: str
    reason: str | None
    attempts: int
    device_id: str | None
    error_code: str | None
    provider_message_id: str | None
    updated_at: datetime
    taken_back_at: datetime | None


class Explanation(Message):
    """`verdict` and `reason` stand over all: told, or why not. `decisions` in order, `tries` by
    channel."""

    user_id: str
    question_id: str | None
    verdict: str
    reason: str
    acknowledged_at: datetime | None
    decisions: tuple[Decision, ...]
    tries: tuple[Try, ...]
