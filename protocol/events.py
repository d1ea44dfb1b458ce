"""Every socket message, both ways: name, fields, room, class, limit. The tables below are the law:
the gate, the emitter and the AsyncAPI page read them, and a test holds them against the contract.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from protocol.payload import (
    Hashtags,
    Id,
    Ids,
    Latitude,
    Longitude,
    Message,
    Moment,
    Request,
    plain,
)

Class = Literal["alert", "room", "volatile", "-"]
"""alert: recoverable, urgent lane; room: recoverable; volatile: newest by key wins, dropped first;
-: to one socket, never recovered."""


class Emit(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to rooms of one namespace; stored in the outbox as msgpack.

    `deadline` (epoch seconds): past it the emit is dropped and counted. `key` names what a newer
    volatile event replaces.
    """

    id: str
    event: str
    rooms: tuple[str, ...]
    data: dict[str, Any]
    namespace: str = "/"
    except_rooms: tuple[str, ...] = ()
    klass: Class = "room"
    key: str = ""
    deadline: float | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """All sockets of `room` on all nodes join and leave rooms (a person's position, say)."""

    room: str
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    namespace: str = "/"


# --- what clients send -----------------------------------------------------------------------


class Empty(Request):
    pass


class LocationUpdate(Request):
    lat: Latitude
    lng: Longitude
    accuracy_m: Annotated[float, Meta(ge=0, le=1e7)] | None = None


class NeighbourhoodRef(Request):
    code: Id


class QuestionRef(Request):
    question_id: Id


class StreamRef(Request):
    stream_key: Id


class RoomRef(Request):
    room: Annotated[str, Meta(min_length=1, max_length=128)]


class InboxSync(Request):
    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 100


class NotificationAck(Request):
    ids: Ids = ()
    question_ids: Ids = ()


class NotificationSeen(Request):
    ids: Ids


class NotificationRead(Request):
    ids: Ids = ()
    all: bool = False
    before: Moment | None = None


# --- what they get back (beside `ok: true`) ----------------------------------------------------


class Ok(Message):
    pass


class LocationState(Message):
    region_code: str
    neighbourhood_code: str | None
    rooms: tuple[str, ...]


class UrgentCard(Message):
    question_id: str
    title: str
    neighbourhood_code: str | None
    created_at: datetime
    deadline_at: datetime | None


class NeighbourhoodState(Message):
    room: str
    online: int
    recent: tuple[UrgentCard, ...] | None


class QuestionState(Message):
    room: str
    answers: int | None


class StreamState(Message):
    room: str
    viewers: int


class Viewers(Message):
    viewers: int


class InboxItem(Message, omit_defaults=True):
    """A row of the inbox; of a deleted one only `id` and `deleted` go out. After `expiresAt` it is
    not unread, whether it was read or not.
    """

    id: str
    deleted: bool = False
    seq: int | None = None
    kind: str | None = None
    priority: str | None = None
    title: str | None = None
    body: str | None = None
    data: dict[str, Any] | None = None
    question_id: str | None = None
    answer_id: str | None = None
    created_at: datetime | None = None
    acknowledged_at: datetime | None = None
    seen_at: datetime | None = None
    read_at: datetime | None = None
    expires_at: datetime | None = None
    retracted_at: datetime | None = None


class InboxPage(Message):
    items: tuple[InboxItem, ...]
    unread: int
    next: int
    reset: bool


class Count(Message):
    count: int


class Unread(Message):
    unread: int


# --- what the server sends -----------------------------------------------------------------------


class Author(Message):
    user_id: str
    nickname: str
    is_local_verified: bool


class Place(Message):
    """Rounded to 3 decimals: what the asker chose to publish."""

    lat: float
    lng: float


class Ready(Message):
    sid: str
    user_id: str
    rooms: tuple[str, ...]
    unread: int | None
    server_time: datetime
    protocol: int = 1
    recovered: bool = False
    pid: str | None = None


class QuestionCreated(Message):
    question_id: str
    title: str
    excerpt: str
    category: str | None
    region_code: str
    neighbourhood_code: str | None
    hashtags: Hashtags
    urgency: str
    author: Author
    created_at: datetime


class QuestionUrgent(Message):
    question_id: str
    title: str
    excerpt: str
    hashtags: Hashtags
    location: Place
    cell: str
    radius_m: int | None
    region_code: str
    neighbourhood_code: str | None
    author: Author
    wave: int
    created_at: datetime
    deadline_at: datetime


class QuestionRetracted(Message):
    question_id: str
    reason: Literal["answered", "closed", "expired"]


class QuestionAnswered(Message):
    question_id: str
    answer_count: int
    first_answer_at: datetime


class QuestionStatus(Message):
    question_id: str
    status: str


class AnswerCreated(Message):
    notification_id: str | None
    answer_id: str
    question_id: str
    excerpt: str
    answerer: Author
    created_at: datetime
    elapsed_s: float


class AnswerAccepted(Message):
    notification_id: str | None
    answer_id: str
    question_id: str
    answerer_id: str
    questioner_id: str
    points: int


class PointsAwarded(Message):
    user_id: str
    points: int
    balance: int
    reason: str
    answer_id: str | None
    question_id: str | None


class NotificationNew(Message):
    seq: int
    kind: str
    priority: str
    title: str
    body: str
    data: dict[str, Any]
    created_at: datetime


class NotificationUpdated(Message):
    ids: tuple[str, ...]
    state: Literal["seen", "read", "deleted", "retracted"]
    seq: int


class InboxUnread(Message):
    count: int
    by_kind: dict[str, int]


class RoomBroadcast(Message):
    room: str
    event: str
    publisher: str
    published_at: datetime
    data: dict[str, Any]


class LiveProduct(Message):
    stream_key: str
    published_at: datetime
    data: dict[str, Any]


class PresenceUpdate(Message):
    """People, not sockets; of neighbourhood and region rooms in steps of 5, 0 under 5."""

    room: str
    count: int


class ViewerCount(Message):
    stream_key: str
    viewers: int


class ServerShutdown(Message):
    reason: str
    reconnect_after_ms: int


@dataclass(frozen=True, slots=True)
class ClientEvent:
    name: str
    payload: type[Request]
    ack: type[Message]
    namespace: str = "/"
    limit: Literal["default", "chat"] = "default"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    name: str
    payload: type[Message]
    room: str
    klass: Class
    namespace: str = "/"


CLIENT_EVENTS: Final[dict[str, ClientEvent]] = {
    event.name: event
    for event in (
        ClientEvent("location:update", LocationUpdate, LocationState),
        ClientEvent("neighbourhood:join", NeighbourhoodRef, NeighbourhoodState),
        ClientEvent("neighbourhood:leave", NeighbourhoodRef, Ok),
        ClientEvent("question:join", QuestionRef, QuestionState),
        ClientEvent("question:leave", QuestionRef, Ok),
        ClientEvent("join:stream", StreamRef, StreamState),
        ClientEvent("leave:stream", StreamRef, StreamState),
        ClientEvent("presence:get", RoomRef, Count),
        ClientEvent("inbox:sync", InboxSync, InboxPage),
        ClientEvent("notification:ack", NotificationAck, Count),
        ClientEvent("notification:seen", NotificationSeen, Unread),
        ClientEvent("notification:read", NotificationRead, Unread),
        ClientEvent("stream:viewer:join", StreamRef, Viewers, "/streaming"),
        ClientEvent("stream:viewer:leave", StreamRef, Viewers, "/streaming"),
    )
}

SERVER_EVENTS: Final[dict[str, ServerEvent]] = {
    event.name: event
    for event in (
        ServerEvent("ready", Ready, "the socket", "-"),
        ServerEvent(
            "question:created", QuestionCreated, "neighbourhood:{code}, tag:{hashtag}", "room"
        ),
        ServerEvent("question:urgent", QuestionUrgent, "cell:{h3} of the wave", "alert"),
        ServerEvent("question:retracted", QuestionRetracted, "whoever was woken", "alert"),
        ServerEvent(
            "question:answered", QuestionAnswered, "whoever was woken, question:{id}", "alert"
        ),
        ServerEvent(
            "question:closed", QuestionStatus, "question:{id}, neighbourhood:{code}", "room"
        ),
        ServerEvent("answer:created", AnswerCreated, "user:{asker}, question:{id}", "alert"),
        ServerEvent("answer:accepted", AnswerAccepted, "user:{answerer}, question:{id}", "alert"),
        ServerEvent("points:awarded", PointsAwarded, "user:{answerer}", "alert"),
        ServerEvent("notification:new", NotificationNew, "user:{id}", "alert"),
        ServerEvent("notification:updated", NotificationUpdated, "user:{id}", "room"),
        ServerEvent("inbox:unread", InboxUnread, "user:{id}", "volatile"),
        ServerEvent("room:broadcast", RoomBroadcast, "any room", "room"),
        ServerEvent("live:product:added", LiveProduct, "stream:{streamKey}", "room"),
        ServerEvent("live:product:updated", LiveProduct, "stream:{streamKey}", "room"),
        ServerEvent("live:product:soldout", LiveProduct, "stream:{streamKey}", "room"),
        ServerEvent("live:product:deleted", LiveProduct, "stream:{streamKey}", "room"),
        ServerEvent("presence:update", PresenceUpdate, "that room", "volatile"),
        ServerEvent(
            "stream:viewer:count", ViewerCount, "stream:{streamKey}", "volatile", "/streaming"
        ),
        ServerEvent("server:shutdown", ServerShutdown, "sockets of the node", "-"),
    )
}


def emit(
    name: str,
    message: Message,
    *,
    id: str,
    rooms: tuple[str, ...],
    except_rooms: tuple[str, ...] = (),
    namespace: str | None = None,
    key: str = "",
    deadline: datetime | None = None,
) -> Emit:
    """An event of the table, ready for the outbox; `id` and `deadlineAt` stand in its data too."""
    event = SERVER_EVENTS[name]
    if type(message) is not event.payload:
        raise TypeError(f"{name} carries {event.payload.__name__}")
    return Emit(
        id=id,
        event=name,
        rooms=rooms,
        data={"id": id, **plain(message)},
        namespace=namespace or event.namespace,
        except_rooms=except_rooms,
        klass=event.klass,
        key=key,
        deadline=deadline.timestamp() if deadline else None,
    )
