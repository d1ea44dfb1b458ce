"""Retraction: what is pending ends at once, on every channel, and what phones show is taken back:
about a question that is over, and about what its person has attended to on some device.

The rules would say the same when each job next runs (`rules.ladder.ended`); here they are said for
everybody together, so that no job finds anything left to send.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID, uuid4

from hub.domain.context import Domain
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.delivery import delivery_id
from hub.domain.notifications.inbox import tell_unread
from hub.domain.rules.kinds import Kind, kind_of
from hub.domain.rules.reasons import Reason, Verdict, verdict_of
from hub.domain.rules.states import ARRIVED, DeliveryStatus
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from hub.plumbing.telemetry.metrics import DELIVERIES
from protocol.events import emit
from protocol.events.inbox import NotificationUpdated
from protocol.jobs import push_retract_job
from protocol.names import user_room

BATCH: Final = 200
PENDING_FOR: Final = timedelta(days=2)
"""After this no channel waits any more, and no phone is woken to clear its screen: reading an inbox
of years costs no more than reading that of yesterday."""


@dataclass(frozen=True, slots=True)
class _Told:
    id: UUID
    created_at: datetime
    user_id: str
    kind: Kind
    question_id: str | None
    deleted: bool

    @classmethod
    def of(cls, row: Row) -> "_Told":
        return cls(
            id=row["id"],
            created_at=row["created_at"],
            user_id=row["user_id"],
            kind=kind_of(row["kind"]),
            question_id=row["question_id"],
            deleted=row["deleted_at"] is not None,
        )


async def settle_pending(d: Domain, question_id: str, reason: Reason) -> int:
    """End what is queued, and what had not come to its time, about an urgent question that was
    answered, closed or expired, and take back what was told of it; returns how many deliveries were
    withheld. Safe to run again.

    What a provider has just now stays sent if it was, and is taken back then (`delivery.settle`). A
    question that goes on meanwhile, because its only answer is gone again, is left alone.
    """
    withheld, after = 0, ""
    while True:
        async with d.outbox.change() as change:
            if not await _is_over(change.conn, question_id):
                return withheld
            batch, after = await _told(change.conn, question_id, after)
            if not after:
                return withheld
            withheld += await _withhold(d, change, batch, reason)
            await _retract(d, change, batch)
            await _clear_phones(change, batch)


async def settle_told(d: Domain, change: Change, ids: Sequence[UUID], reason: Reason) -> int:
    """The same of notifications about a question of another region, which says that it is over."""
    batch = await _held(change.conn, ids)
    withheld = await _withhold(d, change, batch, reason)
    await _retract(d, change, batch)
    await _clear_phones(change, batch)
    return withheld


async def _held(conn: Connection, ids: Sequence[UUID]) -> list[_Told]:
    """Locked behind their people's heads."""
    await conn.execute(
        "SELECT FROM inbox_heads WHERE user_id IN (SELECT user_id FROM notifications"
        " WHERE id = ANY($1::uuid[])) ORDER BY user_id FOR UPDATE",
        list(ids),
    )
    found = await conn.fetch(
        "SELECT * FROM notifications WHERE id = ANY($1::uuid[]) ORDER BY user_id, id FOR UPDATE",
        list(ids),
    )
    return [_Told.of(row) for row in found]


async def settle_attended(d: Domain, user_id: str, after: int, until: int) -> int:
    """End what is pending about the notifications whose last change, by their person, has a number
    over `after` and not over `until`; returns how many deliveries were withheld. Safe to run again.
    """
    withheld = 0
    while True:
        async with d.outbox.change() as change:
            rows = await change.conn.fetch(
                "SELECT * FROM notifications WHERE user_id = $1 AND seq > $2 AND seq <= $3"
                " AND created_at > $4 AND coalesce(seen_at, read_at, deleted_at) IS NOT NULL"
                " ORDER BY seq LIMIT $5 FOR UPDATE",
                user_id,
                after,
                until,
                d.now() - PENDING_FOR,
                BATCH,
            )
            if not rows:
                return withheld
            after = rows[-1]["seq"]
            batch = [_Told.of(row) for row in rows]
            for gone, reason in ((True, Reason.ERASED), (False, Reason.SEEN)):
                some = [one for one in batch if one.deleted is gone]
                withheld += await _withhold(d, change, some, reason)
            await _clear_phones(change, batch)


async def _is_over(conn: Connection, question_id: str) -> bool:
    """Held until the end of the batch: nobody takes the answer back meanwhile."""
    state = await conn.fetchval(
        "SELECT urgent_state FROM questions WHERE id = $1 FOR SHARE", question_id
    )
    return state in ("answered", "closed", "expired")


async def _told(conn: Connection, question_id: str, after: str) -> tuple[list[_Told], str]:
    """The next of its notifications, in order of person: locked as a job that follows the rules
    locks one, behind the heads, as whoever reads locks them. Those of people whose inbox is in
    another region are not here. Also the last person looked at; empty after the last."""
    rows = await conn.fetch(
        "SELECT user_id, notification_id FROM question_recipients WHERE question_id = $1"
        " AND user_id > $2 AND notification_id IS NOT NULL ORDER BY user_id LIMIT $3",
        question_id,
        after,
        BATCH,
    )
    await conn.execute(
        "SELECT FROM inbox_heads WHERE user_id = ANY($1::text[]) ORDER BY user_id FOR UPDATE",
        [row["user_id"] for row in rows],
    )
    found = await conn.fetch(
        "SELECT * FROM notifications WHERE id = ANY($1::uuid[]) ORDER BY user_id FOR UPDATE",
        [row["notification_id"] for row in rows],
    )
    return [_Told.of(row) for row in found], rows[-1]["user_id"] if rows else ""


async def _withhold(d: Domain, change: Change, batch: Sequence[_Told], reason: Reason) -> int:
    """Whatever was queued ends, and a row says why of each channel that had not come to its time
    (of an optional one to whom has it on); returns how many these were."""
    if not batch:
        return 0
    verdict = verdict_of(reason)
    expired = verdict is Verdict.EXPIRED
    status = DeliveryStatus.EXPIRED if expired else DeliveryStatus.SUPPRESSED
    rows = await change.conn.fetch(
        "UPDATE deliveries SET status = $2, reason = $3, lease_until = NULL, updated_at = $4"
        " WHERE notification_id = ANY($1::uuid[]) AND channel <> 'socket'"
        " AND status IN ('queued', 'sending') RETURNING notification_id, channel",
        [one.id for one in batch],
        status,
        reason,
        d.now(),
    )
    missing = [(one, channel) for one in batch for channel in one.kind.channels]
    rows += await change.conn.fetch(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status, reason)"
        " SELECT t.id, t.created_at, t.notification_id, t.user_id, t.channel, $6, $7"
        " FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[])"
        "  AS t (id, created_at, notification_id, user_id, channel)"
        " WHERE NOT EXISTS (SELECT FROM deliveries x WHERE x.notification_id = t.notification_id"
        "  AND x.channel = t.channel) AND (t.channel <> 'kakao' OR EXISTS (SELECT FROM"
        "  notification_preferences p WHERE p.user_id = t.user_id AND p.kakao_enabled))"
        " ON CONFLICT DO NOTHING"
        " RETURNING notification_id, channel",
        [delivery_id(one.id, channel) for one, channel in missing],
        [one.created_at for one, _ in missing],
        [one.id for one, _ in missing],
        [one.user_id for one, _ in missing],
        [channel for _, channel in missing],
        status,
        reason,
    )
    ended = {(row["notification_id"], row["channel"]) for row in rows}
    for _, channel in ended:
        DELIVERIES.labels(channel=channel, status=status, reason=reason).inc()
    decisions = [
        Decision(one.user_id, verdict, reason, one.question_id, one.id, channel)
        for one in batch
        for channel in one.kind.channels
        if (one.id, channel) in ended
    ]
    await record(change.conn, d.now(), decisions)
    return len(ended)


async def withdraw(d: Domain, change: Change, ids: Sequence[UUID]) -> None:
    """Take back notifications of other people whose words are erased, also those that were taken
    back before: each gets a number, so that no copy of an inbox keeps the words, and phones are
    cleared. Whatever is pending finds them gone.
    """
    batch = await _held(change.conn, ids)
    await _retract(d, change, batch, again=True)
    await _clear_phones(change, batch)


async def _retract(
    d: Domain, change: Change, batch: Sequence[_Told], *, again: bool = False
) -> None:
    """In the inboxes, whose heads are locked: nobody has to read of it any more. `again`: those
    that were retracted before get a new number, too."""
    rows = await change.conn.fetch(
        "WITH chosen AS (SELECT id, created_at, user_id,"
        "  row_number() OVER (PARTITION BY user_id ORDER BY seq) AS place,"
        "  (read_at IS NULL AND retracted_at IS NULL)::int AS unread FROM notifications"
        "  WHERE id = ANY($1::uuid[]) AND ($3 OR retracted_at IS NULL) AND deleted_at IS NULL),"
        " head AS (UPDATE inbox_heads h SET seq = h.seq + mine.many, updated_at = now(),"
        "  unread = h.unread - mine.unread FROM (SELECT user_id, count(*) AS many,"
        "   sum(unread) AS unread FROM chosen GROUP BY user_id) mine"
        "  WHERE h.user_id = mine.user_id RETURNING h.user_id, h.seq - mine.many AS before)"
        " UPDATE notifications n SET retracted_at = coalesce(n.retracted_at, $2),"
        " seq = head.before + chosen.place FROM chosen JOIN head USING (user_id)"
        " WHERE n.id = chosen.id AND n.created_at = chosen.created_at"
        " RETURNING n.id, n.user_id, n.seq",
        [one.id for one in batch],
        d.now(),
        again,
    )
    rows.sort(key=lambda row: (row["user_id"], row["seq"]))
    for user_id, group in groupby(rows, key=lambda row: str(row["user_id"])):
        room, theirs = user_room(user_id), list(group)
        ids = tuple(str(row["id"]) for row in theirs)
        message = NotificationUpdated(ids=ids, state="retracted", seq=theirs[-1]["seq"])
        change.tell(room, emit("notification:updated", message, id=str(uuid4()), rooms=(room,)))
    await tell_unread(change, list({row["user_id"]: None for row in rows}), d.now())


async def _clear_phones(change: Change, batch: Sequence[_Told]) -> None:
    """A job for each that is on somebody's screen: a provider has taken its push over."""
    rows = await change.conn.fetch(
        "SELECT DISTINCT x.notification_id FROM deliveries x JOIN devices v ON v.id = x.device_id"
        " AND v.user_id = x.user_id AND v.disabled_at IS NULL"
        " WHERE x.notification_id = ANY($1::uuid[]) AND x.retracted_at IS NULL"
        " AND x.channel = 'push' AND x.status = ANY($2::text[])",
        [one.id for one in batch],
        list(ARRIVED),
    )
    pushed = {row["notification_id"] for row in rows}
    for one in batch:
        if one.id in pushed:
            urgent = one.kind.urgent
            change.enqueue(push_retract_job(str(one.id), one.created_at, urgent=urgent))
