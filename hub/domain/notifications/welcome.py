"""Welcome: user.registered makes a person known, and greets them once."""

from datetime import datetime

from hub.domain.context import Domain
from hub.domain.notifications.writing import News, notify
from hub.domain.people import members
from hub.plumbing.stores.outbox import Change
from protocol.domain_events import UserRegistered


async def register(
    d: Domain, change: Change, event: UserRegistered, at: datetime | None = None
) -> bool:
    """user.registered, at its time: row, default preferences, welcome (once a person). False when
    that was known before.
    """
    conn, at = change.conn, at or d.now()
    await members.ensure(conn, event.user_id)
    first = await members.newer(conn, event.user_id, ["registered"], at, once=True)
    changed = await members.write_facts(conn, event.user_id, {"email": event.email}, at)
    if not first:
        return changed
    language = await members.locale_of(conn, event.user_id)
    news = News.of_ours(
        event.user_id,
        "welcome",
        language,
        {},
        priority="low",
        dedup_key="welcome",
        announce=True,
    )
    await notify(d, change, [news], await d.presence.online([event.user_id]))
    return True
