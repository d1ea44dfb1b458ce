"""The inbox: what a person was told, in order of commit, and how much of it is unread.

Every change of a notification takes the next number of its person's head in the same transaction,
so numbers come in order of commit and `unread` is exact. A batch locks people in order of user_id.
The head counts what was not read; what expired meanwhile is taken off wherever the count is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from hub.domain.context import Domain
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire, from_json, to_json
from hub.plumbing.telemetry.metrics import NOTIFICATIONS, UNKNOWN
from protocol.errors import HubError, invalid
from protocol.events import (
    InboxItem,
    InboxPage,
    InboxUnread,
    NotificationNew,
    emit,
)
from protocol.jobs import delivery_job, unseen_check
from protocol.names import user_room
from protocol.payload import in_utc
from protocol.rest import InboxList, UnreadCount
from protocol.texts import render_push

URGENT_KIND = "question_urgent"
DIGEST_KIND = "digest"

OWN_KINDS: Final = frozenset(
    {URGENT_KIND, DIGEST_KIND, "answer_created", "answer_accepted", "welcome"}
)
"""Labels of metrics; a service may name its kinds as it likes."""

MOST_KINDS: Final = 20
OTHER_KINDS: Final = "other"
"""Under this stands in `byKind` whatever is over the number."""

DEDUP_FOR: Final = timedelta(days=7)
"""How long a dedupKey holds (product.md, notification_dedup)."""

LIVE: Final = "(expires_at IS NULL OR expires_at > {now})"
"""SQL: a notification that can still be unread."""

UNREAD: Final = (
    "CASE WHEN h.unread > 0 THEN h.unread - (SELECT count(*)::int FROM notifications x"
    " WHERE x.user_id = h.user_id AND x.read_at IS NULL AND x.deleted_at IS NULL"
    " AND x.expires_at <= {now}) ELSE 0 END"
)
"""SQL: what is unread of the inbox whose head is `h`."""


@dataclass(frozen=True, slots=True)
class News:
    """What one person is to be told. `announce`: also as `notification:new` on their sockets."""

    user_id: str
    kind: str
    title: str
    body: str
    priority: Literal["high", "medium", "low"] = "medium"
    data: dict[str, Any] = field(default_factory=dict)
    event_id: UUID | None = None
    question_id: str | None = None
    answer_id: str | None = None
    dedup_key: str | None = None
    expires_at: datetime | None = None
    announce: bool = False
    words: Mapping[str, str | int] | None = None
    """What title and body were made of (protocol.texts); None: a service wrote them."""

    @classmethod
    def of_ours(
        cls, user_id: str, kind: str, locale: str, words: Mapping[str, str | int], **more: Any
    ) -> "News":
        """In sentences of ours; a device of another language is told in its own."""
        title, body = render_push(kind, locale, words)
        return cls(user_id, kind, title, body, words=words, **more)

    @property
    def urgent(self) -> bool:
        return self.kind == URGENT_KIND


@dataclass(frozen=True, slots=True)
class Told:
    """A notification as it was written."""

    id: UUID
    seq: int
    created_at: datetime
    news: News


async def notify(d: Domain, change: Change, batch: Sequence[News], online: set[str]) -> list[Told]:
    """Write notifications (one a person, 100 at most), their socket deliveries and next jobs.

    Whoever was told under the same dedup_key is left out. `online` are those with a live socket:
    they are pushed later, and only if they do not acknowledge.
    """
    now = d.now()
    fresh = await _without_repeats(change.conn, batch, now)
    if not fresh:
        return []
    heads = await _advance(change.conn, [news.user_id for _, news in fresh], unread=1)
    told = [
        Told(id, heads[news.user_id], now, news)
        for id, news in sorted(fresh, key=lambda one: one[1].user_id)
    ]
    await _insert(change.conn, told)
    await _record_sockets(change.conn, [one for one in told if one.news.user_id in online])
    for one in told:
        NOTIFICATIONS.labels(kind=one.news.kind if one.news.kind in OWN_KINDS else UNKNOWN).inc()
        _follow_up(d, change, one, one.news.user_id in online)
    await tell_unread(change, [one.news.user_id for one in told], now)
    return told


async def _without_repeats(
    conn: Connection, batch: Sequence[News], now: datetime
) -> list[tuple[UUID, News]]:
    """Without those whose dedup_key still holds; a key that held its time begins anew."""
    fresh = [(uuid4(), news) for news in batch]
    keyed = [(id, news) for id, news in fresh if news.dedup_key is not None]
    rows = await conn.fetch(
        "INSERT INTO notification_dedup AS held (user_id, dedup_key, notification_id, created_at)"
        " SELECT *, $4 FROM unnest($1::text[], $2::text[], $3::uuid[]) ORDER BY 1, 2"
        " ON CONFLICT (user_id, dedup_key) DO UPDATE SET created_at = $4,"
        " notification_id = excluded.notification_id WHERE held.created_at <= $5"
        " RETURNING notification_id",
        [news.user_id for _, news in keyed],
        [news.dedup_key for _, news in keyed],
        [id for id, _ in keyed],
        now,
        now - DEDUP_FOR,
    )
    kept = {row["notification_id"] for row in rows}
    return [(id, news) for id, news in fresh if news.dedup_key is None or id in kept]


async def _advance(conn: Connection, users: Sequence[str], *, unread: int) -> dict[str, int]:
    """Next number of each person's head, locked in order of user_id."""
    rows = await conn.fetch(
        "INSERT INTO inbox_heads AS head (user_id, seq, unread)"
        " SELECT id, 1, $2 FROM unnest($1::text[]) AS u (id) ORDER BY id"
        " ON CONFLICT (user_id) DO UPDATE SET seq = head.seq + 1, unread = head.unread + $2,"
        " updated_at = now() RETURNING user_id, seq",
        list(users),
        unread,
    )
    return {row["user_id"]: row["seq"] for row in rows}


async def _insert(conn: Connection, told: Sequence[Told]) -> None:
    await conn.executemany(
        "INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, data,"
        " event_id, question_id, answer_id, seq, expires_at, words)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        [
            (
                one.id,
                one.created_at,
                one.news.user_id,
                one.news.kind,
                one.news.priority,
                one.news.title,
                one.news.body,
                to_json(one.news.data),
                one.news.event_id,
                one.news.question_id,
                one.news.answer_id,
                one.seq,
                one.news.expires_at,
                None if one.news.words is None else to_json(dict(one.news.words)),
            )
            for one in told
        ],
    )


async def _record_sockets(conn: Connection, told: Sequence[Told]) -> None:
    """That somebody had a live socket when they were told decides when the push is due."""
    await conn.executemany(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status)"
        " VALUES (gen_random_uuid(), $1, $2, $3, 'socket', 'sent')",
        [(one.created_at, one.id, one.news.user_id) for one in told],
    )


def _follow_up(d: Domain, change: Change, told: Told, online: bool) -> None:
    news, key = told.news, str(told.id)
    if news.kind == DIGEST_KIND:
        job = delivery_job("email", key, told.created_at, urgent=False, bulk=True)
        change.enqueue(job)
    elif online:
        delay = d.policy.unseen_push_urgent_s if news.urgent else d.policy.unseen_push_s
        change.enqueue(unseen_check(key, told.created_at, delay_s=delay, urgent=news.urgent))
    else:
        change.enqueue(delivery_job("push", key, told.created_at, urgent=news.urgent))
    if news.announce:
        message = NotificationNew(
            seq=told.seq,
            kind=news.kind,
            priority=news.priority,
            title=news.title,
            body=news.body,
            data=news.data,
            created_at=told.created_at,
        )
        room = user_room(news.user_id)
        change.tell(room, emit("notification:new", message, id=key, rooms=(room,)))


async def tell_unread(
    change: Change, users: Sequence[str], now: datetime
) -> dict[str, UnreadCount]:
    """`inbox:unread` to each person's sockets; a newer one replaces one that still waits."""
    counts = await count_unread(change.conn, users, now)
    for user_id, found in counts.items():
        room = user_room(user_id)
        message = InboxUnread(count=found.count, by_kind=found.by_kind)
        event = emit("inbox:unread", message, id=str(uuid4()), rooms=(room,), key=user_id)
        change.tell(room, event)
    return counts


async def count_unread(
    conn: Connection, users: Sequence[str], now: datetime
) -> dict[str, UnreadCount]:
    rows = await conn.fetch(
        "SELECT user_id, kind, count(*) AS n FROM notifications WHERE user_id = ANY($1::text[])"  # noqa: S608 - a constant
        f" AND read_at IS NULL AND deleted_at IS NULL AND {LIVE.format(now='$2')}"
        " GROUP BY user_id, kind ORDER BY n DESC, kind",
        list(users),
        now,
    )
    kinds: dict[str, dict[str, int]] = {user_id: {} for user_id in users}
    for row in rows:
        kinds[row["user_id"]][row["kind"]] = row["n"]
    return {
        user_id: UnreadCount(count=sum(found.values()), by_kind=_bounded(found))
        for user_id, found in kinds.items()
    }


def _bounded(kinds: dict[str, int]) -> dict[str, int]:
    """The most frequent kinds; a service that names each order a kind makes no endless message."""
    if len(kinds) <= MOST_KINDS:
        return kinds
    kept = dict(islice(kinds.items(), MOST_KINDS - 1))
    rest = sum(kinds.values()) - sum(kept.values())
    return {**kept, OTHER_KINDS: kept.get(OTHER_KINDS, 0) + rest}


async def unread_count(d: Domain, user_id: str) -> UnreadCount:
    async with acquire(d.pool) as conn:
        return (await count_unread(conn, [user_id], d.now()))[user_id]


async def sync(d: Domain, user_id: str, after: int | None, limit: int) -> InboxPage:
    """Rows changed after a number, in order of number.

    `next` is what to send as `after` next time; `reset` says that `after` is from another inbox
    (a restored database): throw away what you have and begin at 0.
    """
    async with acquire(d.pool) as conn, conn.transaction(isolation="repeatable_read"):
        head = await conn.fetchrow(
            f"SELECT seq, {UNREAD.format(now='$2')} AS unread FROM inbox_heads h"  # noqa: S608 - a constant
            " WHERE user_id = $1",
            user_id,
            d.now(),
        )
        seq, unread = (head["seq"], head["unread"]) if head else (0, 0)
        start = after or 0
        reset = start > seq
        rows = await conn.fetch(
            "SELECT * FROM notifications WHERE user_id = $1 AND seq > $2 ORDER BY seq, id LIMIT $3",
            user_id,
            0 if reset else start,
            limit,
        )
    following = rows[-1]["seq"] if len(rows) == limit else seq
    items = tuple(_item(row) for row in rows)
    return InboxPage(items=items, unread=unread, next=following, reset=reset)


def _item(row: Row) -> InboxItem:
    if row["deleted_at"] is not None:
        return InboxItem(id=str(row["id"]), deleted=True)
    return InboxItem(
        id=str(row["id"]),
        seq=row["seq"],
        kind=row["kind"],
        priority=row["priority"],
        title=row["title"],
        body=row["body"],
        data=from_json(row["data"]),
        question_id=row["question_id"],
        answer_id=row["answer_id"],
        created_at=row["created_at"],
        acknowledged_at=row["acknowledged_at"],
        seen_at=row["seen_at"],
        read_at=row["read_at"],
        expires_at=row["expires_at"],
        retracted_at=row["retracted_at"],
    )


async def page(
    d: Domain, user_id: str, *, after: str | None, limit: int, unread_only: bool, kind: str | None
) -> InboxList:
    """Newest first, by keyset on (created_at, id); `after` is the `next` of the page before."""
    before, before_id = _cursor(after)
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT * FROM notifications WHERE user_id = $1 AND deleted_at IS NULL"  # noqa: S608 - a constant
            " AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))"
            f" AND (NOT $4 OR read_at IS NULL AND {LIVE.format(now='$7')})"
            " AND ($5::text IS NULL OR kind = $5) ORDER BY created_at DESC, id DESC LIMIT $6",
            user_id,
            before,
            before_id,
            unread_only,
            kind,
            limit,
            d.now(),
        )
        unread = await conn.fetchval(
            f"SELECT {UNREAD.format(now='$2')} FROM inbox_heads h WHERE user_id = $1",  # noqa: S608 - a constant
            user_id,
            d.now(),
        )
    last = rows[-1] if len(rows) == limit else None
    following = f"{last['created_at'].isoformat()}_{last['id']}" if last else None
    return InboxList(items=tuple(_item(row) for row in rows), unread=unread or 0, next=following)


def _cursor(after: str | None) -> tuple[datetime | None, UUID | None]:
    if after is None:
        return None, None
    text, _, id = after.rpartition("_")
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return in_utc(moment), UUID(id)
    except (ValueError, HubError):
        pass
    raise invalid("`after` is no cursor of ours.")
