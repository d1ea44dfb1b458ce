"""Domain events of other services: each is applied once, in one transaction with its own row."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import structlog

from hub.domain import erasure, shards
from hub.domain.context import Domain, Known
from hub.domain.notifications import from_elsewhere, welcome
from hub.domain.people import members, positions, revocation, standing
from hub.domain.people.sessions import Service
from hub.domain.places import geometry
from hub.domain.questions import accepting, answering, asking, closing, editing
from hub.domain.rules.states import QuestionStatus
from hub.plumbing.stores import redis_client
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import AWAY, Row, from_json, to_json
from hub.plumbing.telemetry.metrics import ERRORS
from protocol.between_regions import (
    BETWEEN_REGIONS,
    AlertOver,
    PeopleHeard,
    PersonLocated,
    PersonNotified,
    PersonShown,
    WordsErased,
)
from protocol.domain_events import (
    DOMAIN_EVENTS,
    AnswerAcceptedEvent,
    AnswerCreatedEvent,
    DomainEvent,
    Envelope,
    QuestionClosedEvent,
    QuestionCreatedEvent,
    QuestionUpdatedEvent,
    SessionRevoked,
    UserDeleted,
    UserRegistered,
    UserUpdated,
)
from protocol.errors import Code, HubError, forbidden, invalid
from protocol.jobs import event_job
from protocol.payload import Message, moments_of, plain, read
from protocol.rest.domain_events import EventsAccepted
from protocol.rest.questions import Ask

log = structlog.get_logger(__name__)

MAX_TRIES: Final = 5
FUTURE_S: Final = 300
"""How far a publisher's clock may be ahead."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What is older is no time of a fact, but what a program writes that has none (0001, 1970)."""

OF_QUESTIONS: Final = (
    QuestionUpdatedEvent,
    QuestionClosedEvent,
    AnswerCreatedEvent,
    AnswerAcceptedEvent,
)
OF_PEOPLE: Final = (UserRegistered, UserUpdated, UserDeleted, SessionRevoked)

Outcome = Literal["applied", "known", "failed"]


async def accept(d: Domain, caller: Service, envelopes: Sequence[Envelope]) -> EventsAccepted:
    """Keep events once by id, and apply each at once if it can be; a job tries the others again.

    A list is taken or refused whole: INVALID_PAYLOAD and FORBIDDEN are raised before anything is
    kept, and of what was admitted each entry stands alone: one that fails is kept with its error,
    and those behind it go in. Of UNAVAILABLE the caller cannot know how far it came, and repeats
    the list: what went in is a duplicate then, as is a fact that comes under a second eventId.
    """
    caller.need("events:write")
    payloads = [_checked(d, caller, envelope) for envelope in envelopes]
    fresh = 0
    for envelope, payload in zip(envelopes, payloads, strict=True):
        fresh += await _keep_and_apply(d, caller.id, envelope, payload)
    return EventsAccepted(accepted=fresh, duplicates=len(envelopes) - fresh)


def _checked(d: Domain, caller: Service, envelope: Envelope) -> Message:
    event = _of_others(envelope)
    if "*" not in caller.event_types and envelope.event_type not in caller.event_types:
        raise forbidden(f"This key may not publish {envelope.event_type}.")
    return _read(d, envelope, event)


def _of_others(envelope: Envelope) -> DomainEvent:
    event = DOMAIN_EVENTS.get(envelope.event_type)
    if event is None or event.direction == "out":
        raise invalid("Unknown eventType.")
    return event


def _read(d: Domain, envelope: Envelope, event: DomainEvent) -> Message:
    payload = read(envelope.payload, event.payload)
    _check_times(d, payload, envelope.occurred_at)
    return payload


async def hear(d: Domain, envelope: Envelope) -> None:
    """Keep and apply an event that nobody waits for an answer to: one that cannot be read is kept,
    too, with its error. On the stream its publisher is who it says: Redis's ACL let it write.

    Raises UNAVAILABLE, and what says that a store is away.
    """
    try:
        payload = _read(d, envelope, _of_others(envelope))
    except HubError as error:
        await refuse(d, envelope, error)
        return
    await _keep_and_apply(d, _publisher(envelope), envelope, payload)


async def refuse(d: Domain, envelope: Envelope, error: HubError) -> None:
    """Keep an event with its error, for `dongne requeue event ID`; once by id.

    Raises UNAVAILABLE, and what says that a store is away.
    """
    async with d.outbox.change() as change:
        if await _keep(change, _publisher(envelope), envelope, _rounded(envelope.payload)):
            await _keep_error(change, envelope.event_id, error)


def _publisher(envelope: Envelope) -> str:
    return envelope.publisher or "stream"


def _check_times(d: Domain, payload: Message, occurred_at: datetime) -> None:
    """Whatever time an event carries is that of something that has happened."""
    times = {"occurredAt": occurred_at}
    for field in msgspec.structs.fields(type(payload)):
        if field.name in moments_of(type(payload)):
            times[field.encode_name] = getattr(payload, field.name) or occurred_at
    for name, at in times.items():
        if at < EARLIEST:
            raise invalid(f"{name} lies before the year {EARLIEST.year}.")
        if at > d.now() + timedelta(seconds=FUTURE_S):
            raise invalid(f"{name} lies in the future.")


async def _keep_and_apply(d: Domain, publisher: str, envelope: Envelope, payload: Message) -> int:
    async with d.outbox.change() as change:
        if not await _keep(change, publisher, envelope, _rounded(plain(payload))):
            return 0
        outcome = await _apply(d, change, envelope.event_id, payload, envelope.occurred_at)
        if outcome == "failed":
            change.enqueue(event_job(str(envelope.event_id)))
        return 0 if outcome == "known" else 1


async def _keep(
    change: Change, publisher: str, envelope: Envelope, payload: dict[str, Any]
) -> bool:
    """False for one whose id is known."""
    return await shards.keep_event(
        change.conn,
        envelope.event_id,
        envelope.event_type,
        publisher,
        to_json(payload),
        envelope.occurred_at,
    )


def _rounded(payload: dict[str, Any]) -> dict[str, Any]:
    """Coordinates are rounded before a payload is stored, those of an event that cannot be read
    as well; what is no number is no coordinate."""
    location = payload.get("location")
    if not isinstance(location, dict):
        return payload
    rounded = {
        name: geometry.rounded(value) if isinstance(value, int | float) else value
        for name, value in location.items()
    }
    return payload | {"location": rounded}


@dataclass(frozen=True, slots=True)
class Stored:
    """An event as its row keeps it. `done`: applied before."""

    payload: Any
    event_type: str
    occurred_at: datetime
    done: bool

    @classmethod
    def of(cls, row: Row) -> "Stored":
        return cls(
            payload=from_json(row["payload"]),
            event_type=row["event_type"],
            occurred_at=row["occurred_at"],
            done=row["processed_at"] is not None,
        )

    def read(self, d: Domain) -> Message:
        """Raises INVALID_PAYLOAD for what could be kept and cannot be read."""
        ours = BETWEEN_REGIONS.get(self.event_type)
        if ours is not None:
            return read(self.payload, ours)
        payload = read(self.payload, DOMAIN_EVENTS[self.event_type].payload)
        _check_times(d, payload, self.occurred_at)
        return payload


async def apply(d: Domain, event_id: UUID) -> bool:
    """Try a stored event again; true when it is applied or was before. For the worker."""
    async with d.outbox.change() as change:
        row = await change.conn.fetchrow(
            "SELECT * FROM inbox_events WHERE event_id = $1 FOR UPDATE", event_id
        )
        stored = None if row is None else Stored.of(row)
        if stored is None or stored.done:
            return True
        return await _apply(d, change, event_id, stored, stored.occurred_at) != "failed"


async def _apply(
    d: Domain, change: Change, event_id: UUID, told: Message | Stored, occurred_at: datetime
) -> Outcome:
    """Apply inside a savepoint: what a failure wrote or told is taken back, its error is kept.

    Raises what says that a store is away.
    """
    outcome: Outcome = "applied"
    change.event_id = event_id
    try:
        async with change.savepoint():
            payload = told.read(d) if isinstance(told, Stored) else told
            await _apply_where_it_belongs(d, change, event_id, payload, occurred_at)
    except Known:
        outcome = "known"
    except (*AWAY, *redis_client.AWAY):
        raise
    except Exception as error:
        if isinstance(error, HubError) and error.code == Code.UNAVAILABLE:
            raise
        await _keep_error(change, event_id, error)
        return "failed"
    await change.conn.execute(
        "UPDATE inbox_events SET processed_at = $2, attempts = attempts + 1, error = NULL"
        " WHERE event_id = $1",
        event_id,
        d.now(),
    )
    return outcome


async def _apply_where_it_belongs(
    d: Domain, change: Change, event_id: UUID, payload: Message, at: datetime
) -> None:
    """What is told of a question goes where the question is; what is told of a person is known in
    every region (design §8). Where a question that is asked belongs, asking finds out."""
    region = None
    if isinstance(payload, OF_QUESTIONS):
        region = await d.shards.of_question(change.conn, payload.question_id)
    if region is not None:
        shards.hand_over(change, event_id, region)
        return
    await HANDLERS[type(payload)](d, change, payload, at)
    if isinstance(payload, OF_PEOPLE):
        erased = payload.user_id if isinstance(payload, UserDeleted) else None
        for other in d.shards.urls:
            shards.hand_over(change, event_id, other, erased)


async def _keep_error(change: Change, event_id: UUID, error: Exception) -> None:
    """What nobody foresaw is kept by its name alone: its words may hold people's."""
    if isinstance(error, HubError):
        code, sentence = error.code, f"{error.code}: {error.message}"
        log.warning("event.not_applied", event_id=str(event_id), code=code)
    else:
        code, sentence = Code.INTERNAL, f"{Code.INTERNAL}: {type(error).__name__}"
        log.error("event.failed", event_id=str(event_id), exc_info=error)
    ERRORS.labels(door="event", code=code).inc()
    await change.conn.execute(
        "UPDATE inbox_events SET attempts = attempts + 1, error = $2 WHERE event_id = $1",
        event_id,
        sentence,
    )


async def _registered(d: Domain, change: Change, event: UserRegistered, at: datetime) -> None:
    if not await welcome.register(d, change, event, at):
        raise Known("This person is registered already.")


async def _updated(d: Domain, change: Change, event: UserUpdated, at: datetime) -> None:
    """Whose region is another one now has sockets that move."""
    before = await standing.locked(d, change.conn, event.user_id)
    await members.update(d, change, event, at)
    await standing.tell_move(d, change, event.user_id, before)


async def _deleted(d: Domain, change: Change, event: UserDeleted, at: datetime) -> None:
    await erasure.erase(d, change, event.user_id)


async def _session_revoked(d: Domain, change: Change, event: SessionRevoked, at: datetime) -> None:
    if event.user_id is not None:
        await revocation.revoke_person(d, change, event.user_id, event.issued_before or at)
    if event.jti is not None:
        await revocation.revoke_token(d, change, event.jti)
    if event.user_id is None and event.jti is None:
        raise invalid("Either userId or jti is needed.")


async def _question_created(
    d: Domain, change: Change, event: QuestionCreatedEvent, at: datetime
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
    await asking.ask(d, change, event.user_id, form, id=event.question_id, at=at)


async def _question_updated(
    d: Domain, change: Change, event: QuestionUpdatedEvent, at: datetime
) -> None:
    words = editing.Words(event.title, event.content, event.category, event.hashtags)
    await editing.edit(d, change, event.question_id, words, at=at)
    if event.status not in (None, QuestionStatus.ACTIVE):
        await closing.close(d, change, event.question_id, QuestionStatus(event.status), at=at)


async def _question_closed(
    d: Domain, change: Change, event: QuestionClosedEvent, at: datetime
) -> None:
    await closing.close(d, change, event.question_id, QuestionStatus(event.status), at=at)


async def _answer_created(
    d: Domain, change: Change, event: AnswerCreatedEvent, at: datetime
) -> None:
    await answering.answer(
        d,
        change,
        event.answerer_id,
        event.question_id,
        event.excerpt or "…",
        id=event.answer_id,
        at=event.created_at or at,
    )


async def _answer_accepted(
    d: Domain, change: Change, event: AnswerAcceptedEvent, at: datetime
) -> None:
    await accepting.accept(
        d, change, event.questioner_id, event.answer_id, points=event.points, at=at
    )


HANDLERS: Final[dict[type[Message], Callable[[Domain, Change, Any, Any], Awaitable[None]]]] = {
    UserRegistered: _registered,
    UserUpdated: _updated,
    UserDeleted: _deleted,
    SessionRevoked: _session_revoked,
    QuestionCreatedEvent: _question_created,
    QuestionUpdatedEvent: _question_updated,
    QuestionClosedEvent: _question_closed,
    AnswerCreatedEvent: _answer_created,
    AnswerAcceptedEvent: _answer_accepted,
    PersonNotified: from_elsewhere.notified,
    PeopleHeard: from_elsewhere.heard,
    AlertOver: from_elsewhere.over,
    PersonShown: from_elsewhere.shown,
    PersonLocated: positions.located_elsewhere,
    WordsErased: erasure.erased_elsewhere,
}
