"""What is counted over a day or over the last 24 hours, for lists and for whoever runs the hub."""

from datetime import date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

from hub.domain.context import Domain
from hub.plumbing.stores import redis_client
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.postgres import Connection, acquire
from protocol.events import emit
from protocol.events.places import TagCount, TrendingUpdated
from protocol.names import cached_trending, region_room
from protocol.rest.search import Trending

TRENDING_MOST: Final = 20
TRENDING_WINDOW: Final = timedelta(hours=24)
WINDOW: Final = "24h"
TRENDING_KEPT_S: Final = 3600
"""S2-071."""


def day_of(day: date, zone: str) -> tuple[datetime, datetime]:
    """From the first moment of a local day to the first of the next, be it 23 or 25 hours."""
    tz = ZoneInfo(zone)
    return datetime.combine(day, time(), tz), datetime.combine(day + timedelta(days=1), time(), tz)


async def roll_up(d: Domain, day: date, zone: str) -> None:
    """The figures of one local day, anew each time it is asked for.

    `sent` counts what a provider took over, whatever came after; `seen`: the notification was seen
    or read. Times: from the notification to the moment the provider had it.
    """
    begin, end = day_of(day, zone)
    async with acquire(d.pool) as conn, conn.transaction():
        await conn.execute("DELETE FROM delivery_stats WHERE day = $1", day)
        await conn.execute(
            "INSERT INTO delivery_stats SELECT $1, u.region_code, n.kind, one.channel,"
            " count(*) FILTER (WHERE one.out), count(*) FILTER (WHERE one.status = 'delivered'),"
            " count(*) FILTER (WHERE one.status = 'seen' OR one.out"
            "  AND (n.seen_at IS NOT NULL OR n.read_at IS NOT NULL)),"
            " count(*) FILTER (WHERE one.status = 'failed'),"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY one.ms) FILTER (WHERE one.out),"
            " percentile_cont(0.95) WITHIN GROUP (ORDER BY one.ms) FILTER (WHERE one.out)"
            " FROM (SELECT *, status IN ('sent', 'delivered', 'seen') AS out,"
            "  extract(epoch FROM updated_at - created_at) * 1000 AS ms FROM deliveries"
            "  WHERE created_at >= $2 AND created_at < $3) one"
            " JOIN notifications n ON n.id = one.notification_id AND n.created_at = one.created_at"
            " JOIN users u ON u.id = one.user_id GROUP BY u.region_code, n.kind, one.channel",
            day,
            begin,
            end,
        )
        await conn.execute("DELETE FROM answer_stats WHERE day = $1", day)
        await conn.execute(
            "INSERT INTO answer_stats SELECT $1, region_code, count(*),"
            " count(*) FILTER (WHERE first_answer_at <= deadline_at),"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s),"
            " percentile_cont(0.95) WITHIN GROUP (ORDER BY took_s)"
            " FROM (SELECT *, extract(epoch FROM first_answer_at - created_at) AS took_s"
            "  FROM questions WHERE created_at >= $2 AND created_at < $3) one"
            " WHERE urgency = 'urgent' GROUP BY region_code",
            day,
            begin,
            end,
        )


Tags = list[tuple[str, int]]

TRENDING: Final = Family("trending", 900)


async def count_trending(d: Domain) -> Tags:
    """The hashtags of the last 24 hours (C28), most used first, kept for an hour where GET
    /trending reads them: a sorted set for all and one a region, made anew in one step. Who is in
    a region hears what is used there.
    """
    async with acquire(d.pool) as conn:
        everywhere = await _count(conn, d.now(), None)
        by_region = {box.code: await _count(conn, d.now(), box.code) for box in d.atlas.regions}
    async with d.redis.pipeline(transaction=True) as pipe:
        for region, tags in ({None: everywhere} | by_region).items():
            key = d.keys.trending(region)
            pipe.delete(key)
            if tags:
                pipe.zadd(key, dict(tags))
                pipe.expire(key, TRENDING_KEPT_S)
        await pipe.execute()
    async with d.outbox.change() as change:
        change.invalidate(cached_trending(), *map(cached_trending, by_region))
        for region, tags in by_region.items():
            room = region_room(region)
            message = TrendingUpdated(window=WINDOW, tags=_counts(tags))
            event = emit("trending:updated", message, id=str(uuid4()), rooms=(room,), key=region)
            change.tell(room, event)
    return everywhere


async def trending(d: Domain, region: str | None) -> Trending:
    """What the hour's job counted, kept for a quarter of an hour and made anew ahead (C27)."""
    return await d.cache.read(
        TRENDING,
        cached_trending(region).removeprefix("trending:"),
        Trending,
        lambda lag: _trending(d, region, lag),
    )


async def _trending(d: Domain, region: str | None, may_lag: bool) -> Trending:
    """Counted now where it has not been yet, or Redis is away."""
    try:
        found: Any = await d.redis.zrange(d.keys.trending(region), 0, -1, withscores=True)
    except redis_client.AWAY:
        found = []
    tags = [(tag.decode(), int(used)) for tag, used in found]
    if not tags:
        tags = await d.reads.run(lambda conn: _count(conn, d.now(), region), may_lag=may_lag)
    ordered = sorted(tags, key=lambda one: (-one[1], one[0]))
    return Trending(trending_tags=_counts(ordered), window=WINDOW)


async def _count(conn: Connection, now: datetime, region: str | None) -> Tags:
    rows = await conn.fetch(
        "SELECT tag, count(*)::int AS questions FROM questions, unnest(hashtags) AS tag"
        " WHERE created_at > $1 AND status <> 'deleted' AND ($3::text IS NULL OR region_code = $3)"
        " GROUP BY tag ORDER BY questions DESC, tag LIMIT $2",
        now - TRENDING_WINDOW,
        TRENDING_MOST,
        region,
    )
    return [(row["tag"], row["questions"]) for row in rows]


def _counts(tags: Tags) -> tuple[TagCount, ...]:
    return tuple(TagCount(tag=tag, count=used) for tag, used in tags)


class InTime(NamedTuple):
    """Of each span how many urgent questions were asked, and how many of them were answered within
    their deadline."""

    last_day: tuple[int, int]
    last_28_days: tuple[int, int]


async def answered_in_time(d: Domain) -> InTime:
    """The last 24 hours as they are, and the 28 days before today as they were rolled up."""
    async with acquire(d.pool) as conn:
        day = await conn.fetchrow(
            "SELECT count(*)::int AS asked,"
            " count(*) FILTER (WHERE first_answer_at <= deadline_at)::int AS answered"
            " FROM questions WHERE urgency = 'urgent' AND created_at > $1",
            d.now() - timedelta(days=1),
        )
        month = await conn.fetchrow(
            "SELECT coalesce(sum(urgent_questions), 0)::int AS asked,"
            " coalesce(sum(answered_in_target), 0)::int AS answered"
            " FROM answer_stats WHERE day > $1",
            d.now().date() - timedelta(days=29),
        )
    assert day is not None
    assert month is not None
    return InTime((day["asked"], day["answered"]), (month["asked"], month["answered"]))
