"""The first look at what was written: whoever has a live socket is pushed later, the others now.

Here, and nowhere else in the heart, presence is asked: by a job of its own, one for a whole batch,
while no row is locked. It is a hint. While Redis is away nobody seems to be here, so everybody is
pushed at once: told twice is better than told late.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from hub.domain.context import Domain
from hub.domain.notifications.delivery import delivery_id, job_on
from hub.domain.rules.kinds import CHANNELS, Channel, kind_of
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import acquire
from hub.plumbing.stores.redis_client import AWAY
from protocol.jobs import Job, unseen_check

log = structlog.get_logger(__name__)

_away: Final = Lasting(log, "presence.unknown", "presence.known_again")


async def look(d: Domain, ids: Sequence[UUID], created_at: datetime) -> None:
    """Enqueue the next job for each notification of a batch. Safe to run again: the jobs find
    out anew what is to be done.

    Raises UNAVAILABLE while Postgres is away.
    """
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT id, user_id, kind FROM notifications WHERE created_at = $1"
            " AND id = ANY($2::uuid[])",
            created_at,
            list(ids),
        )
    here_now = await online(d, [row["user_id"] for row in rows])
    async with d.outbox.change() as change:
        here = [(row["id"], row["user_id"]) for row in rows if row["user_id"] in here_now]
        await record_sockets(change, created_at, here)
        for row in rows:
            is_here = row["user_id"] in here_now
            change.enqueue(_next_job(d, row["id"], created_at, row["kind"], is_here))


async def online(d: Domain, users: list[str]) -> set[str]:
    """Who of these has a live socket; nobody while Redis is away."""
    try:
        found = await d.presence.online(users)
    except (RedisError, *AWAY) as error:
        _away.seen(kind=type(error).__name__)
        return set()
    _away.over()
    return found


async def record_sockets(
    change: Change, created_at: datetime, here: Sequence[tuple[UUID, str]]
) -> None:
    """That somebody had a live socket when they were told decides when the push is due."""
    await change.conn.executemany(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status)"
        " VALUES ($1, $2, $3, $4, 'socket', 'sent') ON CONFLICT DO NOTHING",
        [(delivery_id(id, Channel.SOCKET), created_at, id, user_id) for id, user_id in here],
    )


def _next_job(d: Domain, id: UUID, created_at: datetime, kind_name: str, online: bool) -> Job:
    """For the first channel of its kind, at that one's time (hub.domain.rules.ladder.due_at)."""
    kind = kind_of(kind_name)
    first = CHANNELS[kind.channels[0]]
    due = created_at
    if online or not first.only_a_live_socket_delays:
        due += timedelta(seconds=d.policy.timers(kind.pace)[first.channel])
    delay_s = (due - d.now()).total_seconds()
    if delay_s <= 0:
        return job_on(first.channel, id, created_at, kind)
    return unseen_check(str(id), created_at, delay_s=delay_s, urgent=kind.urgent)
