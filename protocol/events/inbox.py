"""A person's notifications: told, acknowledged, seen, read."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from protocol.events.row import ClientEvent, Count, ServerEvent
from protocol.payload import Ids, Message, Moment, Request


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


class Unread(Message):
    unread: int


class NotificationNew(Message, omit_defaults=True):
    """`seq` is the next number of the inbox, unless something was heard late or not at all. After
    `expiresAt` (left out: never) it is not unread, and no event says so.
    """

    seq: int
    kind: str
    priority: str
    title: str
    body: str
    data: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None = None


class NotificationUpdated(Message):
    """`ids` in order of their numbers: the last one has `seq`, the one before it `seq` - 1, …"""

    ids: tuple[str, ...]
    state: Literal["seen", "read", "deleted", "retracted"]
    seq: int


class InboxUnread(Message):
    count: int
    by_kind: dict[str, int]


CLIENT: Final = (
    ClientEvent("inbox:sync", InboxSync, InboxPage),
    ClientEvent("notification:ack", NotificationAck, Count),
    ClientEvent("notification:seen", NotificationSeen, Unread),
    ClientEvent("notification:read", NotificationRead, Unread),
)

SERVER: Final = (
    ServerEvent("notification:new", NotificationNew, "user:{id}", "alert"),
    ServerEvent("notification:updated", NotificationUpdated, "user:{id}", "room"),
    ServerEvent("inbox:unread", InboxUnread, "user:{id}", "volatile"),
)
