"""What operators see and mend."""

from dataclasses import asdict

from api.route import Call
from hub.domain import queues, statistics
from hub.plumbing.telemetry.metrics import requests_answered
from protocol.errors import not_found
from protocol.rest.admin import (
    Availability,
    DeadLetter,
    InTime,
    Queues,
    QueueState,
    Requeued,
    Slo,
)


async def listed(call: Call[None, None]) -> Queues:
    """How much waits in each queue, how fast it goes, and what is held."""
    done = await queues.done_a_minute(call.domain)
    return Queues(
        items=tuple(
            QueueState(**asdict(one), done_a_minute=done[one.queue])
            for one in await queues.depths(call.domain)
        ),
        dead=tuple(DeadLetter(**asdict(one)) for one in await queues.dead_letters(call.domain)),
    )


async def retry(call: Call[None, None]) -> Requeued:
    """Put a held job back with all its tries."""
    queue, id = call.path["queue"], call.path["id"]
    if not (id.isascii() and id.isdigit() and len(id) < 19):
        raise not_found("held job")
    try:
        return Requeued(job=await queues.requeue_job(call.domain, int(id), queue))
    except LookupError as error:
        raise not_found("queue") from error


async def slo(call: Call[None, None]) -> Slo:
    """Answers within ten minutes, and how many requests went well."""
    found = await statistics.answered_in_time(call.domain)
    requests, failed = requests_answered()
    return Slo(
        last_day=_in_time(found.last_day),
        last28_days=_in_time(found.last_28_days),
        availability=Availability(
            requests=requests, failed=failed, share=_share(requests - failed, requests)
        ),
    )


def _in_time(counted: tuple[int, int]) -> InTime:
    asked, answered = counted
    return InTime(
        urgent_questions=asked, answered_in_target=answered, share=_share(answered, asked)
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
