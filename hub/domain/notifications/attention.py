"""One attention per person: acknowledged, seen, read (product.md tells what each of them ends)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from hub.domain.context import Domain
from hub.domain.notifications.inbox import count_unread, tell_unread
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.errors import not_found
from protocol.events import emit
from protocol.events.inbox import NotificationUpdated
from protocol.jobs import attended_job
from protocol.names import user_room


async def acknowledge(
    d: Domain, change: Change, user_id: str, ids: Sequence[str], question_ids: Sequence[str]
) -> int:
    """Shown to the person: ends the push that is pending. Returns how many were new.

    Ids that are not the caller's are ignored. Acknowledging a question's broadcast is kept even
    before its notification is written: the ranking takes it over.
    """
    rows = await change.conn.fetch(
        "UPDATE notifications SET acknowledged_at = $4 WHERE user_id = $1"
        " AND (id = ANY($2::uuid[]) OR question_id = ANY($3::text[]) AND kind = $5)"
        " AND acknowledged_at IS NULL RETURNING question_id, kind",
        user_id,
        _uuids(ids),
        list(question_ids),
        d.now(),
        QUESTION_URGENT.name,
    )
    questions = {row["question_id"] for row in rows if row["kind"] == QUESTION_URGENT.name}
    await _acknowledge_questions(d, change.conn, user_id, questions | set(question_ids))
    return len(rows)


async def _acknowledge_questions(
    d: Domain, conn: Connection, user_id: str, questions: set[str]
) -> None:
    waves = await conn.fetch(
        "INSERT INTO question_recipients AS r"
        " (question_id, user_id, wave, told_at, acknowledged_at)"
        " SELECT q.id, $1, w.wave, $3, $3 FROM questions q CROSS JOIN LATERAL"
        "  (SELECT max(wave) AS wave FROM urgent_waves WHERE question_id = q.id"
        "   AND started_at IS NOT NULL) w WHERE q.id = ANY($2::text[])"
        " AND q.urgency = 'urgent' AND q.user_id <> $1 AND w.wave IS NOT NULL ORDER BY q.id"
        " ON CONFLICT (question_id, user_id) DO UPDATE SET acknowledged_at = $3"
        " WHERE r.acknowledged_at IS NULL RETURNING question_id, wave",
        user_id,
        sorted(questions),
        d.now(),
    )
    for row in waves:
        await conn.execute(
            "UPDATE urgent_waves SET acknowledged = acknowledged + 1"
            " WHERE question_id = $1 AND wave = $2",
            row["question_id"],
            row["wave"],
        )


async def mark_seen(
    d: Domain, change: Change, user_id: str, ids: Sequence[str], *, by: str | None = None
) -> int:
    """The inbox was opened on these: ends everything pending. `by`: the socket that says so, which
    need not hear of it. Returns what is unread."""
    which = "id = ANY($2::uuid[]) AND seen_at IS NULL"
    unread = await _mark(d, change, user_id, "seen", which, "seen_at = $3", _uuids(ids), by)
    return await _unread(d, change, user_id) if unread is None else unread


async def mark_read(
    d: Domain,
    change: Change,
    user_id: str,
    ids: Sequence[str],
    *,
    before: datetime | None = None,
    by: str | None = None,
) -> int:
    """These were opened, or all that was made until `before`. Implies seen; returns unread."""
    which = "id = ANY($2::uuid[])" if before is None else "created_at <= $2"
    unread = await _mark(
        d,
        change,
        user_id,
        "read",
        f"{which} AND read_at IS NULL",
        "read_at = $3, seen_at = coalesce(t.seen_at, $3)",
        _uuids(ids) if before is None else before,
        by,
    )
    return await _unread(d, change, user_id) if unread is None else unread


async def delete(d: Domain, change: Change, user_id: str, id: str) -> None:
    """Take it out of the inbox, and of every screen. Raises NOT_FOUND when it is not the person's,
    or gone already."""
    which = "id = ANY($2::uuid[])"
    chosen = _uuids([id])
    if await _mark(d, change, user_id, "deleted", which, "deleted_at = $3", chosen) is None:
        raise not_found("notification")


async def _mark(
    d: Domain,
    change: Change,
    user_id: str,
    state: Literal["seen", "read", "deleted"],
    which: str,
    change_to: str,
    argument: list[UUID] | datetime,
    by: str | None = None,
) -> int | None:
    """What is unread then; None when there was nothing to mark. Each row gets a number of its own,
    so that a page of `sync` never cuts a mark in two; by these a job finds them that ends what is
    pending."""
    head = await change.conn.fetchrow(
        "SELECT seq, unread FROM inbox_heads WHERE user_id = $1 FOR UPDATE", user_id
    )
    if head is None:
        return None
    rows = await change.conn.fetch(
        "WITH chosen AS (SELECT id, created_at, row_number() OVER (ORDER BY seq) AS n,"  # noqa: S608 - the two texts are constants above
        " read_at IS NULL AND retracted_at IS NULL AS unread"
        f" FROM notifications WHERE user_id = $1 AND deleted_at IS NULL AND {which})"
        f" UPDATE notifications t SET seq = $4 + n, {change_to} FROM chosen"
        " WHERE t.id = chosen.id AND t.created_at = chosen.created_at"
        " RETURNING t.id, chosen.unread",
        user_id,
        argument,
        d.now(),
        head["seq"],
    )
    if not rows:
        return None
    seq = head["seq"] + len(rows)
    unread = head["unread"]
    if state != "seen":
        unread -= sum(row["unread"] for row in rows)
    await change.conn.execute(
        "UPDATE inbox_heads SET seq = $2, unread = $3, updated_at = now() WHERE user_id = $1",
        user_id,
        seq,
        unread,
    )
    room = user_room(user_id)
    ids = tuple(str(row["id"]) for row in rows)
    message = NotificationUpdated(ids=ids, state=state, seq=seq)
    others = () if by is None else (by,)  # a socket is a room of its own
    event = emit(
        "notification:updated", message, id=str(uuid4()), rooms=(room,), except_rooms=others
    )
    change.tell(room, event)
    change.enqueue(attended_job(user_id, head["seq"], seq))
    return (await tell_unread(change, [user_id], d.now()))[user_id].count


async def _unread(d: Domain, change: Change, user_id: str) -> int:
    return (await count_unread(change.conn, [user_id], d.now()))[user_id].count


async def about_questions(change: Change, user_id: str, question_ids: Sequence[str]) -> list[str]:
    """Ids of a person's notifications about these questions."""
    rows = await change.conn.fetch(
        "SELECT id FROM notifications WHERE user_id = $1 AND question_id = ANY($2::text[])"
        " AND deleted_at IS NULL",
        user_id,
        list(question_ids),
    )
    return [str(row["id"]) for row in rows]


def _uuids(ids: Sequence[str]) -> list[UUID]:
    """Those that are ids of ours; the others are ignored like somebody else's."""
    found = []
    for id in ids:
        try:
            found.append(UUID(id))
        except ValueError:
            continue
    return found
