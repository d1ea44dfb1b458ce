"""One attention per person: acknowledged, seen, read (product.md tells what each of them ends)."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from hub.domain import homes
from hub.domain.context import Domain, outgoing
from hub.domain.notifications.inbox import count_unread, tell_unread
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from protocol.between_regions import PersonShown
from protocol.domain_events import NotificationDelivered, NotificationSeen
from protocol.errors import not_found
from protocol.events import emit
from protocol.events.inbox import NotificationUpdated
from protocol.jobs import attended_job
from protocol.names import user_room
from protocol.payload import uuid_of


@dataclass(frozen=True, slots=True)
class Shown:
    """What one person's screen has shown: notifications, and broadcasts of questions."""

    user_id: str
    ids: Sequence[str]
    question_ids: Sequence[str]


async def acknowledge(d: Domain, change: Change, batch: Sequence[Shown]) -> list[int]:
    """Shown to people: ends the pushes that are pending. Returns how many were new, of each entry.

    Ids that are not the caller's are ignored. Acknowledging a question's broadcast is kept even
    before its notification is written: the ranking takes it over. One statement a table, however
    many people there are, and each locks its rows in one order.

    Questions first: a ranking that is writing the same people at this moment is waited for there,
    and what it has written is found after that.
    """
    told = [(one.user_id, id) for one in batch for id in _uuids(one.ids)]
    asked = {(one.user_id, id) for one in batch for id in one.question_ids}
    asked |= await _urgent(change.conn, told)
    new = await _acknowledge_questions(d, change.conn, asked)
    rows = await change.conn.fetch(
        "WITH told AS (SELECT * FROM unnest($1::text[], $2::uuid[]) AS t (user_id, id)"
        "  UNION SELECT r.user_id, r.notification_id FROM question_recipients r"
        "  JOIN unnest($3::text[], $4::text[]) AS q (user_id, question_id)"
        "  USING (user_id, question_id) WHERE r.notification_id IS NOT NULL),"
        " held AS (SELECT n.id, n.created_at FROM notifications n JOIN told USING (user_id, id)"
        "  WHERE n.acknowledged_at IS NULL ORDER BY n.id FOR UPDATE OF n)"
        " UPDATE notifications n SET acknowledged_at = $5 FROM held"
        " WHERE n.id = held.id AND n.created_at = held.created_at"
        " RETURNING n.user_id, n.id, n.question_id, n.kind",
        [user_id for user_id, _ in told],
        [id for _, id in told],
        [user_id for user_id, _ in asked],
        [id for _, id in asked],
        d.now(),
    )
    await _count(change.conn, new)
    await _tell_homes(d, change, told, asked)
    for row in rows:
        shown = NotificationDelivered(
            notification_id=str(row["id"]), user_id=row["user_id"], channel="socket", at=d.now()
        )
        change.leave(outgoing(d, "notification.delivered", shown))
    return [_new_of(one, rows) for one in batch]


async def _tell_homes(
    d: Domain, change: Change, told: Sequence[tuple[str, UUID]], asked: Set[tuple[str, str]]
) -> None:
    """What was shown here of notifications that are in another region's inbox."""
    elsewhere = await homes.of_people(d, change.conn, {one for one, _ in (*told, *asked)})
    if not elsewhere:
        return
    rows = await change.conn.fetch(
        "SELECT r.user_id, r.notification_id FROM question_recipients r"
        " JOIN unnest($1::text[], $2::text[]) AS q (user_id, question_id)"
        " USING (user_id, question_id) WHERE r.notification_id IS NOT NULL",
        [user_id for user_id, _ in asked],
        [id for _, id in asked],
    )
    shown = {*told, *((row["user_id"], row["notification_id"]) for row in rows)}
    for user_id, region in sorted(elsewhere.items()):
        ids = tuple(sorted(id for one, id in shown if one == user_id))
        if ids:
            event = PersonShown(user_id=user_id, notification_ids=ids)
            await homes.send(d, change, region, event)


async def _urgent(conn: Connection, told: Sequence[tuple[str, UUID]]) -> set[tuple[str, str]]:
    """The questions whose own alerts these are, each with its person."""
    rows = await conn.fetch(
        "SELECT n.user_id, n.question_id FROM notifications n"
        " JOIN unnest($1::text[], $2::uuid[]) AS t (user_id, id) USING (user_id, id)"
        " WHERE n.kind = $3 AND n.question_id IS NOT NULL AND n.acknowledged_at IS NULL",
        [user_id for user_id, _ in told],
        [id for _, id in told],
        QUESTION_URGENT.name,
    )
    return {(row["user_id"], row["question_id"]) for row in rows}


def _new_of(one: Shown, rows: Sequence[Row]) -> int:
    ids, questions = set(_uuids(one.ids)), set(one.question_ids)
    urgent = QUESTION_URGENT.name
    return sum(
        row["id"] in ids or (row["kind"] == urgent and row["question_id"] in questions)
        for row in rows
        if row["user_id"] == one.user_id
    )


async def _acknowledge_questions(
    d: Domain, conn: Connection, asked: Set[tuple[str, str]]
) -> Counter[tuple[str, int]]:
    """Rows for whoever has seen a broadcast, ranked or not; how many were new, of each wave."""
    if not asked:
        return Counter()
    waves = await conn.fetch(
        "INSERT INTO question_recipients AS r"
        " (question_id, user_id, wave, told_at, acknowledged_at)"
        " SELECT q.id, u.id, w.wave, $3, $3 FROM unnest($1::text[], $2::text[])"
        "  AS a (user_id, question_id) JOIN users u ON u.id = a.user_id"
        " JOIN questions q ON q.id = a.question_id CROSS JOIN LATERAL"
        "  (SELECT max(wave) AS wave FROM urgent_waves WHERE question_id = q.id"
        "   AND started_at IS NOT NULL) w WHERE q.urgency = 'urgent' AND q.user_id <> u.id"
        " AND w.wave IS NOT NULL ORDER BY q.id, u.id"
        " ON CONFLICT (question_id, user_id) DO UPDATE SET acknowledged_at = $3"
        " WHERE r.acknowledged_at IS NULL RETURNING question_id, wave",
        [user_id for user_id, _ in asked],
        [question_id for _, question_id in asked],
        d.now(),
    )
    return Counter((row["question_id"], row["wave"]) for row in waves)


async def _count(conn: Connection, new: Counter[tuple[str, int]]) -> None:
    """In the figures of the waves: their rows are many people's, so they are locked last."""
    if not new:
        return
    await conn.execute(
        "WITH new AS (SELECT * FROM unnest($1::text[], $2::int[], $3::int[])"
        "  AS n (question_id, wave, people)), held AS (SELECT w.question_id, w.wave, new.people"
        "  FROM urgent_waves w JOIN new USING (question_id, wave)"
        "  ORDER BY w.question_id, w.wave FOR UPDATE OF w)"
        " UPDATE urgent_waves w SET acknowledged = w.acknowledged + held.people FROM held"
        " WHERE w.question_id = held.question_id AND w.wave = held.wave",
        [question_id for question_id, _ in new],
        [wave for _, wave in new],
        list(new.values()),
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
        " read_at IS NULL AND retracted_at IS NULL AS unread, seen_at IS NULL AS unseen"
        f" FROM notifications WHERE user_id = $1 AND deleted_at IS NULL AND {which})"
        f" UPDATE notifications t SET seq = $4 + n, {change_to} FROM chosen"
        " WHERE t.id = chosen.id AND t.created_at = chosen.created_at"
        " RETURNING t.id, t.seq, chosen.unread, chosen.unseen",
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
    ids = tuple(str(row["id"]) for row in sorted(rows, key=lambda row: int(row["seq"])))
    message = NotificationUpdated(ids=ids, state=state, seq=seq)
    others = () if by is None else (by,)  # a socket is a room of its own
    event = emit(
        "notification:updated", message, id=str(uuid4()), rooms=(room,), except_rooms=others
    )
    change.tell(room, event)
    if state != "deleted":
        new = [row["id"] for row in rows if row["unseen"]]
        _tell_services(d, change, user_id, new, "rest" if by is None else "socket")
    change.enqueue(attended_job(user_id, head["seq"], seq))
    return (await tell_unread(change, [user_id], d.now()))[user_id].count


def _tell_services(
    d: Domain, change: Change, user_id: str, ids: Sequence[UUID], channel: str
) -> None:
    for id in ids:
        seen = NotificationSeen(
            notification_id=str(id), user_id=user_id, channel=channel, at=d.now()
        )
        change.leave(outgoing(d, "notification.seen", seen))


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
    return [found for id in ids if (found := uuid_of(id)) is not None]
