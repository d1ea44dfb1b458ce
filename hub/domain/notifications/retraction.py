"""Retraction: what is pending about a question that is over ends at once, on every channel.

The rules would say the same when each job next runs (`rules.ladder.ended`); here they are said for
everybody together, so that no job finds anything left to send.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from hub.domain.context import Domain
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.delivery import delivery_id
from hub.domain.rules.kinds import QUESTION_URGENT, Channel
from hub.domain.rules.reasons import Reason, Verdict, verdict_of
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from hub.plumbing.telemetry.metrics import DELIVERIES

BATCH: Final = 200


class _Told(NamedTuple):
    id: UUID
    created_at: datetime
    user_id: str

    @classmethod
    def of(cls, row: Row) -> "_Told":
        return cls(row["id"], row["created_at"], row["user_id"])


async def settle_pending(d: Domain, question_id: str, reason: Reason) -> int:
    """End what is queued, and what had not come to its time, about an urgent question that was
    answered, closed or expired; returns how many deliveries were withheld. Safe to run again.

    What a provider has just now stays sent if it was (`delivery.settle`). A question that goes on
    meanwhile, because its only answer is gone again, is left alone.
    """
    withheld, after = 0, ""
    while True:
        async with d.outbox.change() as change:
            if not await _is_over(change.conn, question_id):
                return withheld
            batch = await _told(change.conn, question_id, after)
            if not batch:
                return withheld
            after = batch[-1].user_id
            withheld += await _withhold(d, change, question_id, batch, reason)


async def _is_over(conn: Connection, question_id: str) -> bool:
    """Held until the end of the batch: nobody takes the answer back meanwhile."""
    state = await conn.fetchval(
        "SELECT urgent_state FROM questions WHERE id = $1 FOR SHARE", question_id
    )
    return state in ("answered", "closed", "expired")


async def _told(conn: Connection, question_id: str, after: str) -> list[_Told]:
    """The next of its notifications, in order of person, locked as a job that follows the rules
    locks one."""
    rows = await conn.fetch(
        "SELECT n.id, n.created_at, n.user_id FROM question_recipients r"
        " JOIN notifications n ON n.id = r.notification_id"
        " WHERE r.question_id = $1 AND r.user_id > $2 ORDER BY r.user_id LIMIT $3 FOR UPDATE OF n",
        question_id,
        after,
        BATCH,
    )
    return [_Told.of(row) for row in rows]


async def _withhold(
    d: Domain, change: Change, question_id: str, batch: Sequence[_Told], reason: Reason
) -> int:
    verdict = verdict_of(reason)
    expired = verdict is Verdict.EXPIRED
    status = DeliveryStatus.EXPIRED if expired else DeliveryStatus.SUPPRESSED
    rows = await change.conn.fetch(
        "UPDATE deliveries SET status = $2, reason = $3, lease_until = NULL, updated_at = $4"
        " WHERE notification_id = ANY($1::uuid[]) AND channel <> 'socket'"
        " AND status IN ('queued', 'sending') RETURNING notification_id, user_id, channel",
        [one.id for one in batch],
        status,
        reason,
        d.now(),
    )
    missing = [(one, channel) for one in batch for channel in QUESTION_URGENT.channels]
    rows += await change.conn.fetch(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status, reason)"
        " SELECT t.id, t.created_at, t.notification_id, t.user_id, t.channel, $6, $7"
        " FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[])"
        "  AS t (id, created_at, notification_id, user_id, channel)"
        " WHERE NOT EXISTS (SELECT FROM deliveries x WHERE x.notification_id = t.notification_id"
        "  AND x.channel = t.channel) ON CONFLICT DO NOTHING"
        " RETURNING notification_id, user_id, channel",
        [delivery_id(one.id, channel) for one, channel in missing],
        [one.created_at for one, _ in missing],
        [one.id for one, _ in missing],
        [one.user_id for one, _ in missing],
        [channel for _, channel in missing],
        status,
        reason,
    )
    ended = {(row["user_id"], row["notification_id"], row["channel"]) for row in rows}
    for *_, channel in ended:
        DELIVERIES.labels(channel=channel, status=status, reason=reason).inc()
    decisions = [
        Decision(user_id, verdict, reason, question_id, notification_id, Channel(channel))
        for user_id, notification_id, channel in sorted(ended)
    ]
    await record(change.conn, d.now(), decisions)
    return len(ended)
