"""The inbox: what a person was told, in order of commit, and how much of it is unread.

Every change of a notification takes the next number of its person's head in the same transaction,
so numbers come in order of commit and `unread` is exact. A batch locks people in order of user_id.
The head counts what was neither read, deleted nor retracted; what expired meanwhile is taken off
wherever the count is told.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID, uuid4

from hub.domain.context import Domain
from hub.domain.notifications.notification import Notification
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, acquire
from protocol.errors import HubError, invalid
from protocol.events import emit
from protocol.events.inbox import InboxPage, InboxUnread
from protocol.names import user_room
from protocol.payload import in_utc
from protocol.rest.notifications import InboxList, UnreadCount

MOST_KINDS: Final = 20
OTHER_KINDS: Final = "other"
"""Under this stands in `byKind` whatever is over the number."""

LIVE: Final = "(retracted_at IS NULL AND (expires_at IS NULL OR expires_at > {now}))"
"""SQL: a notification that can still be unread."""

UNREAD: Final = (
    "CASE WHEN h.unread > 0 THEN h.unread - (SELECT count(*)::int FROM notifications x"
    " WHERE x.user_id = h.user_id AND x.read_at IS NULL AND x.deleted_at IS NULL"
    " AND x.retracted_at IS NULL AND x.expires_at <= {now}) ELSE 0 END"
)
"""SQL: what is unread of the inbox whose head is `h`."""


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
    found = [Notification.of(row) for row in rows]
    following = found[-1].seq if len(found) == limit else seq
    items = tuple(one.item() for one in found)
    return InboxPage(items=items, unread=unread, next=following, reset=reset)


PAGE: Final = (
    "SELECT head.unread, n.* FROM (SELECT coalesce("  # noqa: S608 - a constant
    f"(SELECT {UNREAD.format(now='$7')} FROM inbox_heads h WHERE user_id = $1), 0) AS unread) head"
    " LEFT JOIN LATERAL (SELECT * FROM notifications WHERE user_id = $1 AND deleted_at IS NULL"
    " AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))"
    f" AND (NOT $4 OR read_at IS NULL AND {LIVE.format(now='$7')})"
    " AND ($5::text IS NULL OR kind = $5) ORDER BY created_at DESC, id DESC LIMIT $6) n ON true"
    " ORDER BY n.created_at DESC, n.id DESC"
)
"""SQL: a page of an inbox and what is unread of all, in one row without an id where it is empty."""


async def page(
    d: Domain, user_id: str, *, after: str | None, limit: int, unread_only: bool, kind: str | None
) -> InboxList:
    """Newest first, by keyset on (created_at, id); `after` is the `next` of the page before. Rows
    and count are of one moment.
    """
    before, before_id = _cursor(after)
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(PAGE, user_id, before, before_id, unread_only, kind, limit, d.now())
    found = [Notification.of(row) for row in rows if row["id"] is not None]
    last = found[-1] if len(found) == limit else None
    following = f"{last.created_at.isoformat()}_{last.id}" if last else None
    items = tuple(one.item() for one in found)
    return InboxList(items=items, unread=rows[0]["unread"], next=following)


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
