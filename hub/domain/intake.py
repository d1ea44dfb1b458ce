"""Domain events of other services: each is applied once, in one transaction with its own row."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from hub.domain import answers, members, places, questions
from hub.domain.context import Domain
from hub.domain.sessions import Service
from hub.plumbing.outbox import Change
from hub.plumbing.postgres import from_json, to_json
from protocol.domain_events import (
    DOMAIN_EVENTS,
    AnswerAcceptedEvent,
    AnswerCreatedEvent,
    Envelope,
    QuestionClosedEvent,
    QuestionCreatedEvent,
    UserRegistered,
    UserUpdated,
)
from protocol.errors import HubError, forbidden, invalid
from protocol.jobs import event_job
from protocol.payload import Message, plain, read
from protocol.rest import Ask, EventsAccepted

log = structlog.get_logger(__name__)

MAX_TRIES: Final = 5
FUTURE_S: Final = 300
"""How far a publisher's clock may be ahead."""


async def accept(d: Domain, caller: Service, envelopes: Sequence[Envelope]) -> EventsAccepted:
    """Keep events once by id, and apply each at once if it can be; a job tries the others again.

    Raises INVALID_PAYLOAD or FORBIDDEN before anything is kept: a list is taken or refused whole.
    """
    caller.need("events:write")
    payloads = [_checked(d, caller, envelope) for envelope in envelopes]
    fresh = 0
    for envelope, payload in zip(envelopes, payloads, strict=True):
        fresh += await _keep_and_apply(d, caller.id, envelope, payload)
    return EventsAccepted(accepted=fresh, duplicates=len(envelopes) - fresh)


def _checked(d: Domain, caller: Service, envelope: Envelope) -> Message:
    event = DOMAIN_EVENTS.get(envelope.event_type)
    if event is None or event.direction == "out":
        raise invalid("Unknown eventType.")
    if "*" not in caller.event_types and envelope.event_type not in caller.event_types:
        raise forbidden(f"This key may not publish {envelope.event_type}.")
    if envelope.occurred_at.tzinfo is None:
        raise invalid("occurredAt needs its time zone.")
    if envelope.occurred_at > d.now() + timedelta(seconds=FUTURE_S):
        raise invalid("occurredAt lies in the future.")
    return read(envelope.payload, event.payload)


async def _keep_and_apply(d: Domain, publisher: str, envelope: Envelope, payload: Message) -> int:
    async with d.outbox.change() as change:
        kept = await change.conn.fetchval(
            "INSERT INTO inbox_events (event_id, event_type, publisher, payload, occurred_at)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING event_id",
            envelope.event_id,
            envelope.event_type,
            publisher,
            to_json(_rounded(payload)),
            envelope.occurred_at,
        )
        if kept is None:
            return 0
        if not await _apply(d, change, envelope.event_id, payload, envelope.occurred_at):
            change.enqueue(event_job(str(envelope.event_id)))
        return 1


def _rounded(payload: Message) -> dict[str, Any]:
    """Coordinates are rounded before a payload is stored."""
    value = plain(payload)
    location = value.get("location")
    if isinstance(location, dict):
        value["location"] = {name: places.rounded(degrees) for name, degrees in location.items()}
    return value


async def apply(d: Domain, event_id: UUID) -> bool:
    """Try a stored event again; true when it is applied or was before. For the worker."""
    async with d.outbox.change() as change:
        row = await change.conn.fetchrow(
            "SELECT * FROM inbox_events WHERE event_id = $1 FOR UPDATE", event_id
        )
        if row is None or row["processed_at"] is not None:
            return True
        payload = read(from_json(row["payload"]), DOMAIN_EVENTS[row["event_type"]].payload)
        return await _apply(d, change, event_id, payload, row["occurred_at"])


async def _apply(
    d: Domain, change: Change, event_id: UUID, payload: Message, occurred_at: Any
) -> bool:
    """Apply inside a savepoint: what a failure wrote or told is taken back, its error is kept."""
    told, jobs = len(change.told), len(change.jobs)
    try:
        async with change.conn.transaction():
            await HANDLERS[type(payload)](d, change, payload, occurred_at)
    except HubError as error:
        del change.told[told:], change.jobs[jobs:]
        log.warning("event.not_applied", event_id=str(event_id), code=error.code)
        await change.conn.execute(
            "UPDATE inbox_events SET attempts = attempts + 1, error = $2 WHERE event_id = $1",
            event_id,
            f"{error.code}: {error.message}",
        )
        return False
    await change.conn.execute(
        "UPDATE inbox_events SET processed_at = $2, attempts = attempts + 1, error = NULL"
        " WHERE event_id = $1",
        event_id,
        d.now(),
    )
    return True


async def _registered(d: Domain, change: Change, event: UserRegistered, _: Any) -> None:
    await members.register(d, change, event)


async def _updated(d: Domain, change: Change, event: UserUpdated, _: Any) -> None:
    await members.update(change, event)


async def _question_created(
    d: Domain, change: Change, event: QuestionCreatedEvent, occurred_at: Any
) -> None:
    form = Ask(
        title=event.title or "질문",
        content=event.content or event.title or "질문",
        category=event.category,
        hashtags=event.hashtags,
        urgency=event.urgency,
        lat=event.location.lat if event.location else None,
        lng=event.location.lng if event.location else None,
    )
    await questions.create(d, change, event.question_id, event.user_id, form, occurred_at)


async def _question_closed(d: Domain, change: Change, event: QuestionClosedEvent, _: Any) -> None:
    await questions.close(d, change, event.question_id, event.status)


async def _answer_created(
    d: Domain, change: Change, event: AnswerCreatedEvent, occurred_at: Any
) -> None:
    await answers.add_answer(
        d,
        change,
        event.answer_id,
        event.answerer_id,
        event.question_id,
        event.excerpt or "…",
        event.created_at or occurred_at,
    )


async def _answer_accepted(d: Domain, change: Change, event: AnswerAcceptedEvent, _: Any) -> None:
    points = event.points if event.points is not None else d.policy.points_per_accept
    await answers.accept_in(d, change, event.answer_id, event.questioner_id, points)


HANDLERS: Final[dict[type[Message], Callable[[Domain, Change, Any, Any], Awaitable[None]]]] = {
    UserRegistered: _registered,
    UserUpdated: _updated,
    QuestionCreatedEvent: _question_created,
    QuestionClosedEvent: _question_closed,
    AnswerCreatedEvent: _answer_created,
    AnswerAcceptedEvent: _answer_accepted,
}
