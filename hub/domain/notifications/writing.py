"""Writing notifications: what a person is told, in order of commit, and the next job for each.

Every change of a notification takes the next number of its person's head in the same transaction,
so numbers come in order of commit and `unread` is exact. A batch locks people in order of user_id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.notifications.inbox import tell_unread
from hub.domain.rules.kinds import KINDS, Channel, Kind, Priority, kind_of
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, to_json
from hub.plumbing.telemetry.metrics import NOTIFICATIONS, UNKNOWN
from protocol.between_regions import PersonNotified
from protocol.events import emit
from protocol.events.inbox import NotificationNew
from protocol.jobs import first_look_job
from protocol.names import user_room
from protocol.texts import render_push

DEDUP_FOR: Final = timedelta(days=7)
"""How long a dedupKey holds (product.md, notification_dedup)."""


@dataclass(frozen=True, slots=True)
class News:
    """What one person is to be told. `announce`: also as `notification:new` on their sockets;
    `words`: what title and body were made of (protocol.texts), None: a service wrote them.
    `channels`: those that a service chose, None: all of the kind. `by`: the one person who caused
    it, where there is one. `id`: that under which another region told it.
    """

    user_id: str
    kind: str
    title: str
    body: str
    priority: Priority = "medium"
    data: dict[str, Any] = field(default_factory=dict)
    question_id: str | None = None
    answer_id: str | None = None
    dedup_key: str | None = None
    expires_at: datetime | None = None
    announce: bool = False
    words: Mapping[str, str | int] | None = None
    channels: tuple[Channel, ...] | None = None
    by: str | None = None
    id: UUID | None = None

    @classmethod
    def of_ours(
        cls, user_id: str, kind: Kind, locale: str, words: Mapping[str, str | int], **more: Any
    ) -> "News":
        """In sentences of ours, with what the kind's row says; a device of another language is
        told in its own.
        """
        title, body = render_push(kind.name, locale, words)
        return cls(
            user_id,
            kind.name,
            title,
            body,
            priority=kind.priority,
            announce=kind.announce,
            words=words,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """A notification as it was written; `seq` is 0 where its person's home is to write it."""

    id: UUID
    seq: int
    created_at: datetime
    news: News


async def notify(
    d: Domain, change: Change, batch: Sequence[News], *, here: bool = False
) -> list[Written]:
    """Write notifications (one a person, 100 at most) and the job that looks who is here.

    Whoever was told under the same dedup_key is left out. Those of people who are at home in
    another region are handed over to it under the ids returned; `here`: all are written here.
    """
    now = d.now()
    fresh = await _without_repeats(change.conn, batch, now)
    if not fresh:
        return []
    fresh.sort(key=lambda one: one[1].user_id)
    elsewhere = {} if here else await homes.of_people(d, change.conn, [n.user_id for _, n in fresh])
    for id, news in fresh:
        if (region := elsewhere.get(news.user_id)) is not None:
            await homes.send(d, change, region, _for_home(news), id)
    written = [Written(id, 0, now, news) for id, news in fresh if news.user_id in elsewhere]
    ours = [(id, news) for id, news in fresh if news.user_id not in elsewhere]
    return [*written, *await _write(d, change, ours, now)]


def _for_home(news: News) -> PersonNotified:
    return PersonNotified(
        user_id=news.user_id,
        kind=news.kind,
        title=news.title,
        body=news.body,
        priority=news.priority,
        data=news.data,
        announce=news.announce,
        question_id=news.question_id,
        answer_id=news.answer_id,
        dedup_key=news.dedup_key,
        expires_at=news.expires_at,
        words=None if news.words is None else dict(news.words),
        channels=news.channels,
        by=news.by,
    )


async def _write(
    d: Domain, change: Change, fresh: Sequence[tuple[UUID, News]], now: datetime
) -> list[Written]:
    """In order of person."""
    if not fresh:
        return []
    heads = await _advance(change.conn, [news.user_id for _, news in fresh], unread=1)
    written = [Written(id, heads[news.user_id], now, news) for id, news in fresh]
    await _insert(change, written)
    for one in written:
        NOTIFICATIONS.labels(kind=one.news.kind if one.news.kind in KINDS else UNKNOWN).inc()
        if one.news.announce:
            _announce(change, one)
    for urgent in (True, False):
        ids = tuple(str(one.id) for one in written if kind_of(one.news.kind).urgent is urgent)
        if ids:
            change.enqueue(first_look_job(ids, now, urgent=urgent))
    await tell_unread(change, [one.news.user_id for one in written], now)
    return written


async def _without_repeats(
    conn: Connection, batch: Sequence[News], now: datetime
) -> list[tuple[UUID, News]]:
    """Without those whose dedup_key still holds; a key that held its time begins anew."""
    fresh = [(news.id or uuid4(), news) for news in batch]
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


async def _insert(change: Change, written: Sequence[Written]) -> None:
    await change.conn.executemany(
        "INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, data,"
        " event_id, question_id, answer_id, seq, expires_at, words, channels)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
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
                change.event_id,
                one.news.question_id,
                one.news.answer_id,
                one.seq,
                one.news.expires_at,
                None if one.news.words is None else to_json(dict(one.news.words)),
                one.news.channels,
            )
            for one in written
        ],
    )


def _announce(change: Change, one: Written) -> None:
    news, room = one.news, user_room(one.news.user_id)
    message = NotificationNew(
        seq=one.seq,
        kind=news.kind,
        priority=news.priority,
        title=news.title,
        body=news.body,
        data=news.data,
        created_at=one.created_at,
        expires_at=news.expires_at,
    )
    change.tell(room, emit("notification:new", message, id=str(one.id), rooms=(room,)))
