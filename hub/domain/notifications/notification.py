"""The row of one notification, as it stands in the inbox."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from hub.domain.rules.kinds import Collapse, Kind, kind_of
from hub.plumbing.stores.postgres import Row, from_json
from protocol.events.inbox import InboxItem
from protocol.texts import render_push


class Notification(Struct, frozen=True):
    """`kind_name` is what it is called, our own name or a service's; `words`: what title and body
    were made of (protocol.texts), None where a service wrote them.
    `chosen`: the channels that a service wants, None: all of its kind.
    """

    id: UUID
    created_at: datetime
    user_id: str
    kind_name: str
    priority: str
    title: str
    body: str
    data: dict[str, Any]
    question_id: str | None
    answer_id: str | None
    seq: int
    acknowledged_at: datetime | None
    seen_at: datetime | None
    read_at: datetime | None
    deleted_at: datetime | None
    retracted_at: datetime | None
    expires_at: datetime | None
    words: Mapping[str, str | int] | None
    chosen: frozenset[str] | None

    @classmethod
    def of(cls, row: Row) -> "Notification":
        words = row["words"]
        return cls(
            id=row["id"],
            created_at=row["created_at"],
            user_id=row["user_id"],
            kind_name=row["kind"],
            priority=row["priority"],
            title=row["title"],
            body=row["body"],
            data=from_json(row["data"]),
            question_id=row["question_id"],
            answer_id=row["answer_id"],
            seq=row["seq"],
            acknowledged_at=row["acknowledged_at"],
            seen_at=row["seen_at"],
            read_at=row["read_at"],
            deleted_at=row["deleted_at"],
            retracted_at=row["retracted_at"],
            expires_at=row["expires_at"],
            words=None if words is None else from_json(words),
            chosen=None if row["channels"] is None else frozenset(row["channels"]),
        )

    @property
    def kind(self) -> Kind:
        return kind_of(self.kind_name)

    @property
    def collapse_id(self) -> str:
        """What has the same one replaces it on a phone's screen."""
        about_question = self.kind.collapse is Collapse.QUESTION
        return (about_question and self.question_id) or str(self.id)

    def texts(self, language: str) -> tuple[str, str]:
        """Title and body: our own sentences in this language; what a service wrote as it is."""
        if self.words is None:
            return self.title, self.body
        return render_push(self.kind_name, language, self.words)

    def item(self) -> InboxItem:
        """For its person's inbox; of a deleted one nothing but that it is."""
        if self.deleted_at is not None:
            return InboxItem(id=str(self.id), deleted=True)
        return InboxItem(
            id=str(self.id),
            seq=self.seq,
            kind=self.kind_name,
            priority=self.priority,
            title=self.title,
            body=self.body,
            data=self.data,
            question_id=self.question_id,
            answer_id=self.answer_id,
            created_at=self.created_at,
            acknowledged_at=self.acknowledged_at,
            seen_at=self.seen_at,
            read_at=self.read_at,
            expires_at=self.expires_at,
            retracted_at=self.retracted_at,
        )
