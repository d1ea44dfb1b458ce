"""Jobs: queue names, payloads, priorities. A job repeats what it needs to find its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from protocol.payload import Message

URGENT_PRIORITY: Final = 10
NORMAL_PRIORITY: Final = 0


class NotificationJob(Message):
    """Take the next step for one notification (push); `createdAt` finds its partition."""

    notification_id: str
    created_at: datetime


class EmailJob(Message):
    notification_id: str
    created_at: datetime


class FirstLookJob(Message):
    """Of a batch of notifications just written: push those now whose people have no live socket."""

    notification_ids: tuple[str, ...]
    created_at: datetime


class UnseenCheckJob(Message):
    """Look again whether somebody acknowledged or saw it."""

    notification_id: str
    created_at: datetime


class WaveJob(Message):
    """Rank the audience of one wave and tell it."""

    question_id: str
    wave: int


class ClockJob(Message):
    """Look at an urgent question whose time has come: a wave's, a claim's, the deadline."""

    question_id: str
    due_at: datetime


class RetractJob(Message):
    """End what is pending about an urgent question, and take back what phones show."""

    question_id: str
    reason: Literal["answered", "closed", "expired"]


class EventJob(Message):
    """Apply a stored domain event that could not be applied when it arrived."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Job:
    entrypoint: str
    payload: Message
    priority: int = NORMAL_PRIORITY
    delay_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


JOBS: Final[dict[str, type[Message]]] = {
    "notification:urgent": NotificationJob,
    "notification:normal": NotificationJob,
    "email": EmailJob,
    "first-look": FirstLookJob,
    "unseen-check": UnseenCheckJob,
    "urgent-clock": ClockJob,
    "urgent-wave": WaveJob,
    "urgent-retract": RetractJob,
    "event": EventJob,
}


def form_of(entrypoint: str) -> type[Message]:
    """Form of a queue's payload. Raises LookupError for a name nobody works on (S2-132)."""
    form = JOBS.get(entrypoint)
    if form is None:
        raise LookupError(f"Queue {entrypoint} not found")
    return form


def notification_job(notification_id: str, created_at: datetime, *, urgent: bool) -> Job:
    return Job(
        "notification:urgent" if urgent else "notification:normal",
        NotificationJob(notification_id=notification_id, created_at=created_at),
        URGENT_PRIORITY if urgent else NORMAL_PRIORITY,
    )


def email_job(notification_id: str, created_at: datetime, *, urgent: bool) -> Job:
    return Job(
        "email",
        EmailJob(notification_id=notification_id, created_at=created_at),
        URGENT_PRIORITY if urgent else NORMAL_PRIORITY,
    )


def first_look_job(ids: tuple[str, ...], created_at: datetime, *, urgent: bool) -> Job:
    return Job(
        "first-look",
        FirstLookJob(notification_ids=ids, created_at=created_at),
        URGENT_PRIORITY if urgent else NORMAL_PRIORITY,
    )


def unseen_check(
    notification_id: str, created_at: datetime, *, delay_s: float, urgent: bool
) -> Job:
    return Job(
        "unseen-check",
        UnseenCheckJob(notification_id=notification_id, created_at=created_at),
        URGENT_PRIORITY if urgent else NORMAL_PRIORITY,
        delay_s,
    )


def clock_job(question_id: str, due_at: datetime, *, delay_s: float) -> Job:
    payload = ClockJob(question_id=question_id, due_at=due_at)
    return Job("urgent-clock", payload, URGENT_PRIORITY, delay_s)


def wave_job(question_id: str, wave: int) -> Job:
    return Job("urgent-wave", WaveJob(question_id=question_id, wave=wave), URGENT_PRIORITY)


def retract_job(question_id: str, reason: Literal["answered", "closed", "expired"]) -> Job:
    payload = RetractJob(question_id=question_id, reason=reason)
    return Job("urgent-retract", payload, URGENT_PRIORITY)


def event_job(event_id: str) -> Job:
    return Job("event", EventJob(event_id=event_id))
