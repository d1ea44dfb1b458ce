"""What operators see: queues, dead letters, the figures of what was promised."""

from datetime import datetime

from protocol.payload import Message


class QueueState(Message):
    """`due` wait for a worker, `later` for their time; `held` are dead letters. `doneAMinute`: over
    the last minute."""

    queue: str
    due: int
    later: int
    running: int
    held: int
    done_a_minute: int


class DeadLetter(Message):
    """A held job. `error` is the code or the kind of what ended its last try."""

    id: int
    queue: str
    job: str
    created_at: datetime
    held_at: datetime
    tries: int
    error: str | None


class Queues(Message):
    """`dead`: the first hundred, in order of their numbers."""

    items: tuple[QueueState, ...]
    dead: tuple[DeadLetter, ...]


class Requeued(Message):
    job: str


class InTime(Message):
    """Urgent questions and those of them whose first answer came within their deadline; no `share`
    of none."""

    urgent_questions: int
    answered_in_target: int
    share: float | None


class Availability(Message):
    """Requests that this process answered since it started, and those that failed by a fault of
    ours (5xx); the fleet's figures are Prometheus's."""

    requests: int
    failed: int
    share: float | None


class Slo(Message):
    """`last28Days` are those that were rolled up, until yesterday; `lastDay` the last 24 hours,
    which some questions' deadlines have not ended yet."""

    last_day: InTime
    last28_days: InTime
    availability: Availability
