"""Wakes: how often urgent questions have called for people lately, by push or by mail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hub.domain.context import Policy
from hub.domain.rules.kinds import CHANNELS, QUESTION_URGENT
from hub.plumbing.stores.postgres import Connection

DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wakes:
    """`today`: urgent questions that left for this person within 24 hours, however many devices
    and channels each had. `rang_at`: when the last of them made a phone ring.
    """

    today: int = 0
    rang_at: datetime | None = None

    def used_up(self, policy: Policy) -> bool:
        """Whether the day's number is reached (URGENT_PER_PERSON)."""
        return self.today >= policy.urgent_per_person_day

    def pause_until(self, policy: Policy) -> datetime | None:
        """Before then no phone of theirs rings again."""
        if self.rang_at is None:
            return None
        return self.rang_at + timedelta(seconds=policy.urgent_push_pause_s)


NONE: Final = Wakes()


async def of(
    conn: Connection, users: Sequence[str], now: datetime, *, but: Sequence[UUID] = ()
) -> dict[str, Wakes]:
    """Of those who were woken; `but` notifications which are looked at now."""
    rows = await conn.fetch(
        "SELECT x.user_id, count(DISTINCT x.notification_id) AS today,"
        " max(x.updated_at) FILTER (WHERE x.channel = ANY($5::text[])) AS rang_at"
        " FROM deliveries x JOIN notifications n"
        " ON n.id = x.notification_id AND n.created_at = x.created_at"
        " WHERE x.user_id = ANY($1::text[]) AND x.created_at > $2 AND x.channel <> 'socket'"
        " AND x.status IN ('sending', 'sent', 'delivered', 'seen') AND n.kind = $4"
        " AND x.notification_id <> ALL($3::uuid[]) GROUP BY x.user_id",
        list(users),
        now - DAY,
        list(but),
        QUESTION_URGENT.name,
        [row.channel for row in CHANNELS.values() if row.rings],
    )
    return {row["user_id"]: Wakes(row["today"], row["rang_at"]) for row in rows}
