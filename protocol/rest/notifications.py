"""A person's inbox, and what services put into it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from protocol.events.inbox import InboxItem
from protocol.normal import code_of
from protocol.payload import Code, Id, Ids, Message, Moment, Request, Title
from protocol.rest.paging import PageQuery

ChannelName = Literal["socket", "push", "email", "kakao"]


class Notify(Request):
    """`channels`: none is every one. The inbox has it in any case; `socket` tells the screens."""

    kind: Code
    title: Title
    body: Annotated[str, Meta(min_length=1, max_length=2000)]
    user_id: Id | None = None
    user_ids: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    priority: Literal["high", "medium", "low"] = "medium"
    channels: Annotated[tuple[ChannelName, ...], Meta(max_length=4)] = ()
    dedup_key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    expires_at: Moment | None = None

    def __post_init__(self) -> None:
        self.kind = code_of(self.kind)


class Accepted(Message):
    ids: tuple[str, ...]


class InboxQuery(PageQuery):
    unread: bool = False
    kind: Code | None = None

    def __post_init__(self) -> None:
        self.kind = code_of(self.kind)


class InboxList(Message):
    items: tuple[InboxItem, ...]
    unread: int
    next: str | None


class UnreadCount(Message):
    """Of many kinds the most frequent stand under their names, the rest under `other`."""

    count: int
    by_kind: dict[str, int]


class Acks(Request):
    ids: Ids = ()
    question_ids: Ids = ()
    state: Literal["acknowledged", "seen", "read"] = "acknowledged"


class ReadAll(Request):
    """All that was made until `before`; without it, until now."""

    before: Moment | None = None


class UnreadNow(Message):
    unread: int
