"""What one region tells another of a person who is at home there: domain events that only the hub
writes, into another region's inbox_events. No door takes them, so they are in no table of ours that
others read.
"""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from protocol.payload import Message


class PersonNotified(Message):
    """A notification for one person's inbox, as `hub.domain.notifications.writing.News` is; the
    event's id is its own, so that it is written once. `by`: who caused it, where that is one
    person; `had_socket`: whether its person held a live socket where it was caused."""

    user_id: str
    kind: str
    title: str
    body: str
    priority: Literal["high", "medium", "low"]
    data: dict[str, Any]
    announce: bool
    question_id: str | None = None
    answer_id: str | None = None
    dedup_key: str | None = None
    expires_at: datetime | None = None
    words: dict[str, str | int] | None = None
    channels: tuple[str, ...] | None = None
    by: str | None = None
    had_socket: bool = False


class PeopleHeard(Message):
    """A socket event for people's own rooms: under the id that it has where it was caused, so that
    whoever has sockets in both regions shows it once. `by`: as above."""

    user_ids: tuple[str, ...]
    id: str
    event: str
    data: dict[str, Any]
    deadline: float | None = None
    by: str | None = None


class AlertOver(Message):
    """What was told of an urgent question by these notifications is over."""

    reason: Literal["answered", "closed", "expired"]
    notification_ids: tuple[UUID, ...]


class PersonShown(Message):
    """A screen where it was caused has shown these notifications."""

    user_id: str
    notification_ids: tuple[UUID, ...]


class PersonLocated(Message):
    """Where a person of another region is: a cell, or None for a region alone; no region: they are
    not here any more."""

    user_id: str
    at: datetime
    cell: int | None = None
    region_code: str | None = None
    neighbourhood_code: str | None = None
    expires_at: datetime | None = None


class WordsErased(Message):
    """These questions and answers say nothing any more: their writer was erased."""

    question_ids: list[str]
    answer_ids: list[str]


BETWEEN_REGIONS: Final[dict[str, type[Message]]] = {
    "person.notified": PersonNotified,
    "people.heard": PeopleHeard,
    "alert.over": AlertOver,
    "person.shown": PersonShown,
    "person.located": PersonLocated,
    "words.erased": WordsErased,
}
