"""Events between services: the envelope, and one row an event type (S2-044)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from protocol.errors import invalid
from protocol.normal import code_of, hashtags_of
from protocol.payload import (
    Code,
    Content,
    Excerpt,
    Hashtags,
    Id,
    Latitude,
    Longitude,
    Message,
    Moment,
    Title,
    TokenId,
    read,
    read_json,
)

Guarantee = Literal["at-least-once", "exactly-once"]


class Envelope(Message):
    """`publisher` is the authenticated client's id, whatever a REST body says (C22)."""

    event_id: UUID
    event_type: str
    occurred_at: Moment
    payload: dict[str, Any]
    version: int = 1
    publisher: str = ""
    trace_id: str | None = None


MOST_BYTES: Final = 65_536
"""Of an event in the stream, as of a request's body."""


def read_entry(body: bytes) -> Envelope:
    """Field `e` of an entry of EVENTS_STREAM: the envelope as JSON, or as a msgpack map.

    Raises INVALID_PAYLOAD.
    """
    if len(body) > MOST_BYTES:
        raise invalid(f"An event has {MOST_BYTES} bytes at most.")
    if body.startswith(b"{"):
        return read_json(body, Envelope)
    try:
        value = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise invalid("The entry is neither JSON nor msgpack.") from None
    return read(value, Envelope)


class GeoPoint(Message):
    lat: Latitude
    lng: Longitude


class UserRegistered(Message):
    user_id: Id
    email: Annotated[str, Meta(max_length=254)] | None = None
    created_at: Moment | None = None


class UserUpdated(Message):
    user_id: Id
    nickname: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    region_code: Code | None = None
    is_local_verified: bool | None = None
    role: Literal["user", "admin"] | None = None
    location_consent_at: Moment | None = None

    def __post_init__(self) -> None:
        self.region_code = code_of(self.region_code)


class UserDeleted(Message):
    user_id: Id


class SessionRevoked(Message):
    """All tokens of a person from before a moment, by default that of the event; or one token."""

    user_id: Id | None = None
    issued_before: Moment | None = None
    jti: TokenId | None = None


class QuestionCreatedEvent(Message):
    question_id: Id
    user_id: Id
    location: GeoPoint | None = None
    hashtags: Hashtags = ()
    urgency: Literal["normal", "urgent"] = "normal"
    title: Title | None = None
    content: Content | None = None
    category: Code | None = None

    def __post_init__(self) -> None:
        self.hashtags = hashtags_of(self.hashtags)
        self.category = code_of(self.category)


class QuestionUpdatedEvent(Message):
    """What changed of a question; what is not named stays as it is."""

    question_id: Id
    title: Title | None = None
    content: Content | None = None
    category: Code | None = None
    hashtags: Hashtags | None = None
    status: Literal["active", "closed", "deleted"] | None = None

    def __post_init__(self) -> None:
        self.category = code_of(self.category)
        if self.hashtags is not None:
            self.hashtags = hashtags_of(self.hashtags)


class QuestionClosedEvent(Message):
    question_id: Id
    status: Literal["closed", "deleted"] = "closed"


class AnswerCreatedEvent(Message):
    answer_id: Id
    question_id: Id
    answerer_id: Id
    questioner_id: Id
    excerpt: Excerpt = ""
    created_at: Moment | None = None


class AnswerAcceptedEvent(Message):
    answer_id: Id
    question_id: Id
    answerer_id: Id
    questioner_id: Id
    points: Annotated[int, Meta(ge=0, le=100_000)] | None = None


class PointsCredited(Message):
    user_id: str
    amount: int
    balance: int
    source_event_id: str


class QuestionUnansweredEvent(Message):
    """`notified`: how many people had been told of it by name."""

    question_id: str
    deadline_at: datetime
    notified: int


class NotificationDelivered(Message):
    """A provider took it over on this channel, which is as far as it can be followed; `socket`: its
    person's screen has shown it."""

    notification_id: str
    user_id: str
    channel: str
    at: datetime


class NotificationSeen(Message):
    """The inbox was opened on it, or it itself. `channel`: where that was said: `socket`, or `rest`
    for whatever led there (a push, a mail, a list)."""

    notification_id: str
    user_id: str
    channel: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DomainEvent:
    name: str
    direction: Literal["in", "out", "both"]
    payload: type[Message]
    guarantee: Guarantee
    publisher: str


DOMAIN_EVENTS: Final[dict[str, DomainEvent]] = {
    event.name: event
    for event in (
        DomainEvent("user.registered", "in", UserRegistered, "at-least-once", "user-service"),
        DomainEvent("user.updated", "in", UserUpdated, "at-least-once", "user-service"),
        DomainEvent("user.deleted", "in", UserDeleted, "at-least-once", "user-service"),
        DomainEvent("session.revoked", "in", SessionRevoked, "at-least-once", "user-service"),
        DomainEvent("question.created", "both", QuestionCreatedEvent, "exactly-once", "qa-service"),
        DomainEvent("question.updated", "in", QuestionUpdatedEvent, "exactly-once", "qa-service"),
        DomainEvent("question.closed", "in", QuestionClosedEvent, "exactly-once", "qa-service"),
        DomainEvent("answer.created", "both", AnswerCreatedEvent, "exactly-once", "qa-service"),
        DomainEvent("answer.accepted", "both", AnswerAcceptedEvent, "exactly-once", "qa-service"),
        DomainEvent("points.credited", "out", PointsCredited, "at-least-once", "hub"),
        DomainEvent("question.unanswered", "out", QuestionUnansweredEvent, "at-least-once", "hub"),
        DomainEvent("notification.delivered", "out", NotificationDelivered, "at-least-once", "hub"),
        DomainEvent("notification.seen", "out", NotificationSeen, "at-least-once", "hub"),
    )
}
