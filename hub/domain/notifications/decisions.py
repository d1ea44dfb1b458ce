"""Decisions: why somebody was told or was not, one row each, written here and nowhere else."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Cause, Reason, Verdict, verdict_of
from hub.plumbing.stores.postgres import Connection, to_json


class Decision(Struct, frozen=True):
    """About one person: as a candidate of a wave (no notification, no channel), or on a channel.

    `detail` holds figures that explain it (wave, metres, seconds, a provider's code), no texts.
    """

    user_id: str
    verdict: Verdict
    reason: Reason | Cause
    question_id: str | None = None
    notification_id: UUID | None = None
    channel: Channel | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


async def record(conn: Connection, now: datetime, decisions: Sequence[Decision]) -> None:
    """In the transaction of what was decided, or right after it."""
    if not decisions:
        return
    await conn.execute(  # a wave has thousands: one statement
        "INSERT INTO decisions (created_at, id, user_id, question_id, notification_id, channel,"
        " verdict, reason, detail) SELECT $1, gen_random_uuid(), * FROM unnest($2::text[],"
        " $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::jsonb[])",
        now,
        [one.user_id for one in decisions],
        [one.question_id for one in decisions],
        [one.notification_id for one in decisions],
        [one.channel for one in decisions],
        [one.verdict for one in decisions],
        [one.reason for one in decisions],
        [to_json(dict(one.detail)) for one in decisions],
    )


async def blocked(conn: Connection, now: datetime, user_id: str, answer_id: str) -> None:
    """Somebody is not told of an answer, or of its acceptance: it comes from a person to whom, or
    from whom, nothing passes. It is no decision about the question's own alert.
    """
    reason, detail = Reason.BLOCKED, {"answerId": answer_id}
    await record(conn, now, [Decision(user_id, verdict_of(reason), reason, detail=detail)])
