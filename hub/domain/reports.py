"""Reports: what people find wrong, kept for the admins until one of them closes it."""

from datetime import datetime
from typing import Final
from uuid import uuid4

from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Row, acquire
from protocol.errors import not_found
from protocol.payload import uuid_of
from protocol.rest.reports import Report, Reported, ReportRequest, Reports, ReportsQuery

_SUBJECTS: Final = {
    "user": "SELECT FROM users WHERE id = $1 AND deleted_at IS NULL",
    "question": "SELECT FROM questions WHERE id = $1 AND status <> 'deleted'",
    "answer": "SELECT FROM answers WHERE id = $1 AND deleted_at IS NULL",
    "message": "SELECT FROM room_messages WHERE id = $1::text::uuid AND deleted_at IS NULL",
}
"""Whether there is such a thing, by kind."""


async def report(d: Domain, change: Change, user_id: str, form: ReportRequest) -> Reported:
    """Keep a report. Raises NOT_FOUND for what is not there."""
    subject, id = form.id, uuid4()
    if form.kind == "message":
        message_id = uuid_of(form.id)
        if message_id is None:
            raise not_found("message")
        subject = str(message_id)
    if await change.conn.fetchrow(_SUBJECTS[form.kind], subject) is None:
        raise not_found(form.kind)
    await members.ensure(d, change.conn, user_id)
    await change.conn.execute(
        "INSERT INTO reports (id, user_id, kind, subject_id, reason, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        id,
        user_id,
        form.kind,
        subject,
        form.reason,
        d.now(),
    )
    return Reported(id=str(id))


async def page(d: Domain, query: ReportsQuery) -> Reports:
    """Open reports, or closed ones, oldest first. Raises NOT_FOUND for an unknown `after`."""
    state = "IS NOT NULL" if query.closed else "IS NULL"
    async with acquire(d.pool) as conn:
        at: datetime | None = None
        after = uuid_of(query.after) if query.after is not None else None
        if query.after is not None:
            at = await conn.fetchval("SELECT created_at FROM reports WHERE id = $1", after)
            if at is None:
                raise not_found("report")
        rows = await conn.fetch(
            f"SELECT * FROM reports WHERE closed_at {state}"  # noqa: S608 - one of two words
            " AND ($1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid))"
            " ORDER BY created_at, id LIMIT $3",
            at,
            after,
            query.limit,
        )
    items = tuple(_shown(row) for row in rows)
    return Reports(items=items, next=items[-1].id if len(items) == query.limit else None)


async def close(d: Domain, change: Change, admin: str, id: str) -> Report:
    """An admin has seen to it; again changes nothing. Raises NOT_FOUND."""
    row = await change.conn.fetchrow(
        "UPDATE reports SET closed_by = CASE WHEN closed_at IS NULL THEN $2 ELSE closed_by END,"
        " closed_at = coalesce(closed_at, $3) WHERE id = $1 RETURNING *",
        uuid_of(id),
        admin,
        d.now(),
    )
    if row is None:
        raise not_found("report")
    return _shown(row)


def _shown(row: Row) -> Report:
    return Report(
        id=str(row["id"]),
        user_id=row["user_id"],
        kind=row["kind"],
        subject_id=row["subject_id"],
        reason=row["reason"],
        created_at=row["created_at"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
    )
