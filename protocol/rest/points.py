"""Points of a person."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from protocol.payload import Message, Request


class PointsQuery(Request):
    """`after` is the `next` of the page before."""

    after: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class PointTransaction(Message):
    id: int
    amount: int
    reason: str
    answer_id: str | None
    question_id: str | None
    created_at: datetime


class Points(Message):
    balance: int
    items: tuple[PointTransaction, ...]
    next: int | None
