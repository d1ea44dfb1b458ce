"""What people report to the admins."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from protocol.payload import Id, Message, Request
from protocol.rest.paging import PageQuery


class ReportRequest(Request):
    """`id`: of the person, question, answer or message of a room."""

    kind: Literal["user", "question", "answer", "message"]
    id: Id
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class Reported(Message):
    id: str


class ReportsQuery(PageQuery):
    closed: bool = False


class Report(Message):
    """`userId` is who reported it."""

    id: str
    user_id: str
    kind: str
    subject_id: str
    reason: str
    created_at: datetime
    closed_at: datetime | None
    closed_by: str | None


class Reports(Message):
    """Oldest first; `next` is the `after` of the following page."""

    items: tuple[Report, ...]
    next: str | None
