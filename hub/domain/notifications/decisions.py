"""Decisions: why somebody was told or was not, one row each, written here and nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Cause, Reason, Verdict
from hub.plumbing.stores.postgres import Connection, to_json


@dataclass(frozen=True, slots=True)
class Decision:
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
    await conn.executemany(
        "INSERT INTO decisions (id, created_at, user_id, question_id, notification_id, channel,"
        " verdict, reason, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            (
                uuid4(),
                now,
                one.user_id,
                one.question_id,
                one.notification_id,
                one.channel,
                one.verdict,
                one.reason,
                to_json(dict(one.detail)),
            )
            for one in decisions
        ],
    )
