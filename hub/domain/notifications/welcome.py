"""Welcome: user.registered makes a person known, and greets them once."""

from datetime import datetime

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.notifications.writing import News, notify
from hub.domain.people import members
from hub.domain.rules.kinds import WELCOME
from hub.plumbing.stores.outbox import Change
from protocol.domain_events import UserRegistered


async def register(d: Domain, change: Change, event: UserRegistered, at: datetime) -> bool:
    """user.registered, at its time: row, default preferences, and at home the welcome (once a
    person). False when that was known before.
    """
    conn, user_id = change.conn, event.user_id
    await members.ensure(d, conn, user_id)
    await members.check_living(conn, user_id)
    first = await members.newer(conn, user_id, ["registered"], at, once=True)
    told = {} if event.email is None else {"email": event.email}
    changed = await members.write_facts(conn, user_id, told, at)
    if not first:
        return changed
    if await homes.of_people(d, conn, [user_id]):
        return True
    locale = await members.locale_of(conn, user_id)
    await notify(d, change, [News.of_ours(user_id, WELCOME, locale, {}, dedup_key="welcome")])
    return True
