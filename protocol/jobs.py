"""Jobs: one row a job and one row a queue, and nowhere else.

A job repeats what it needs to find its rows in the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct, field, structs

from protocol.payload import Message

PROTOCOL_PRIORITY: Final = 20
"""Of an urgent question as a whole: a wave that begins, or an answer that ends it, never
stands behind the hundreds of people whom an earlier wave has told."""

URGENT_PRIORITY: Final = 10
NORMAL_PRIORITY: Final = 0
LOW_PRIORITY: Final = -10


class DeliveryJob(Message):
    """Take the next step for one notification; `createdAt` finds its partition."""

    notification_id: str
    created_at: datetime


class FirstLookJob(Message):
    """Of a batch of notifications just written: push those now whose people have no live socket."""

    notification_ids: tuple[str, ...]
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


class AttendedJob(Message):
    """End what is pending about the notifications a person has attended to (seen, read, deleted),
    and take back what phones show: those whose number is over `after` and not over `until`."""

    user_id: str
    after: int
    until: int


class PushRetractJob(Message):
    """Take one notification back from the phones it was pushed to; `createdAt` finds its
    partition."""

    notification_id: str
    created_at: datetime


class DeviceTestJob(Message):
    """Push to one device, so that its person sees whether that arrives."""

    device_id: str
    user_id: str
    notification_id: str


class EventJob(Message):
    """Apply a stored domain event that could not be applied when it arrived."""

    event_id: str


class HandOverJob(Message):
    """Hand a stored domain event to the database of another region. `erased`: whom it erases, for
    by then nothing stored names them."""

    event_id: str
    region: str
    erased: str | None = None


class ScheduledJob(Message):
    """One firing of a schedule; `dueAt` is when it should have begun."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as it is unless settings say otherwise (QUEUE_NAME_CONCURRENCY, _RATE, _ATTEMPTS).

    `concurrency`: jobs at once in one worker process. `tries` of one job. `rate`: people a minute
    over all workers, none for what asks nobody outside; `reserve`: the share of the bucket that is
    kept for jobs with a reserved row.
    """

    concurrency: int
    tries: int
    rate: int | None = None
    reserve: float = 0.0


QUEUES: Final[Mapping[str, QueueRow]] = {
    "notification": QueueRow(concurrency=10, tries=3, rate=1000, reserve=0.5),
    "email": QueueRow(concurrency=5, tries=5, rate=100, reserve=0.25),
    "analytics": QueueRow(concurrency=3, tries=2),
    # these only ask Postgres, at once: they never stand behind a provider that hangs
    "follow-up": QueueRow(concurrency=5, tries=3),
    # the first of an event's five tries was made where it arrived
    "event": QueueRow(concurrency=5, tries=4),
}
"""The name is the label of a queue's metrics."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """`channel`: the one it sends on. `reserved`: may take the last tokens of its queue's rate.
    `priority`: of those that wait the highest goes first; what is about an urgent question goes
    with URGENT_PRIORITY at least.
    """

    form: type[Message]
    queue: str
    priority: int = NORMAL_PRIORITY
    channel: str | None = None
    reserved: bool = False


JOBS: Final[Mapping[str, JobRow]] = {
    "notification:urgent": JobRow(
        DeliveryJob, "notification", URGENT_PRIORITY, channel="push", reserved=True
    ),
    "notification:normal": JobRow(DeliveryJob, "notification", channel="push"),
    "push-retract:urgent": JobRow(
        PushRetractJob, "notification", URGENT_PRIORITY, channel="push", reserved=True
    ),
    "push-retract:normal": JobRow(PushRetractJob, "notification", channel="push"),
    "device-test": JobRow(DeviceTestJob, "notification", channel="push"),
    "kakao": JobRow(DeliveryJob, "notification", channel="kakao"),
    "email": JobRow(DeliveryJob, "email", channel="email", reserved=True),
    "email:bulk": JobRow(DeliveryJob, "email", LOW_PRIORITY, channel="email"),
    "first-look": JobRow(FirstLookJob, "follow-up"),
    "unseen-check": JobRow(DeliveryJob, "follow-up"),
    "urgent-clock": JobRow(ClockJob, "follow-up", PROTOCOL_PRIORITY),
    "urgent-wave": JobRow(WaveJob, "follow-up", PROTOCOL_PRIORITY),
    "urgent-retract": JobRow(RetractJob, "follow-up", PROTOCOL_PRIORITY),
    "attended": JobRow(AttendedJob, "follow-up", URGENT_PRIORITY),
    "event": JobRow(EventJob, "event"),
    "hand-over": JobRow(HandOverJob, "event"),
    "trending": JobRow(ScheduledJob, "analytics"),
    "digest": JobRow(ScheduledJob, "analytics"),
    "roll-up": JobRow(ScheduledJob, "analytics", LOW_PRIORITY),
    "retention": JobRow(ScheduledJob, "analytics", LOW_PRIORITY),
    "job-log": JobRow(ScheduledJob, "analytics", LOW_PRIORITY),
}
"""The name is the job engine's entry point."""


class Job(Struct, frozen=True):
    """One job to be enqueued; `delay_s` from now."""

    entrypoint: str
    payload: Message
    priority: int = NORMAL_PRIORITY
    delay_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    def caused_by(self, headers: Mapping[str, str]) -> "Job":
        """The same, with the ids of who caused it."""
        return structs.replace(self, headers={**headers, **self.headers})


def row_of(entrypoint: str) -> JobRow:
    """Raises LookupError for a name nobody works on (S2-132)."""
    row = JOBS.get(entrypoint)
    if row is None:
        raise LookupError(f"Queue {entrypoint} not found")
    return row


def form_of(entrypoint: str) -> type[Message]:
    """Form of a job's payload. Raises LookupError for a name nobody works on (S2-132)."""
    return row_of(entrypoint).form


def delivery_job(
    channel: str,
    notification_id: str,
    created_at: datetime,
    *,
    urgent: bool,
    bulk: bool = False,
) -> Job:
    """To send one notification on `channel`; `bulk`: one of many mails that nobody waits for."""
    name = {
        "push": "notification:urgent" if urgent else "notification:normal",
        "email": "email:bulk" if bulk else "email",
    }.get(channel, channel)
    return _job(name, DeliveryJob(notification_id=notification_id, created_at=created_at), urgent)


def first_look_job(ids: tuple[str, ...], created_at: datetime, *, urgent: bool) -> Job:
    payload = FirstLookJob(notification_ids=ids, created_at=created_at)
    return _job("first-look", payload, urgent)


def unseen_check(
    notification_id: str, created_at: datetime, *, delay_s: float, urgent: bool
) -> Job:
    payload = DeliveryJob(notification_id=notification_id, created_at=created_at)
    return _job("unseen-check", payload, urgent, delay_s)


def clock_job(question_id: str, due_at: datetime, *, delay_s: float) -> Job:
    return _job("urgent-clock", ClockJob(question_id=question_id, due_at=due_at), True, delay_s)


def wave_job(question_id: str, wave: int) -> Job:
    return _job("urgent-wave", WaveJob(question_id=question_id, wave=wave), True)


def retract_job(question_id: str, reason: Literal["answered", "closed", "expired"]) -> Job:
    return _job("urgent-retract", RetractJob(question_id=question_id, reason=reason), True)


def attended_job(user_id: str, after: int, until: int) -> Job:
    return _job("attended", AttendedJob(user_id=user_id, after=after, until=until), urgent=False)


def push_retract_job(notification_id: str, created_at: datetime, *, urgent: bool) -> Job:
    name = "push-retract:urgent" if urgent else "push-retract:normal"
    payload = PushRetractJob(notification_id=notification_id, created_at=created_at)
    return _job(name, payload, urgent)


def device_test_job(device_id: str, user_id: str, notification_id: str) -> Job:
    payload = DeviceTestJob(device_id=device_id, user_id=user_id, notification_id=notification_id)
    return _job("device-test", payload, urgent=False)


def event_job(event_id: str) -> Job:
    return _job("event", EventJob(event_id=event_id), urgent=False)


def hand_over_job(event_id: str, region: str, erased: str | None = None) -> Job:
    payload = HandOverJob(event_id=event_id, region=region, erased=erased)
    return _job("hand-over", payload, urgent=False)


def scheduled_job(name: str, due_at: datetime) -> Job:
    return _job(name, ScheduledJob(due_at=due_at), urgent=False)


def _job(name: str, payload: Message, urgent: bool, delay_s: float = 0.0) -> Job:
    least = URGENT_PRIORITY if urgent else LOW_PRIORITY
    return Job(name, payload, max(row_of(name).priority, least), delay_s)
