"""Notices: what other services tell people through POST /notifications."""

from hub.domain.context import Domain
from hub.domain.notifications.writing import News, notify
from hub.domain.people import members
from hub.domain.people.sessions import Service
from hub.domain.rules.kinds import Channel, kind_of
from hub.plumbing.stores.outbox import Change
from protocol.errors import invalid
from protocol.rest.notifications import Accepted, Notify

BATCH = 100


async def tell(d: Domain, change: Change, caller: Service, form: Notify) -> Accepted:
    """Write a notification for each person; whoever has one under the same dedupKey is skipped.

    Raises FORBIDDEN without notify:write, INVALID_PAYLOAD without a recipient or for an urgent
    question, which only the hub tells of.
    """
    caller.need("notify:write")
    people = tuple(dict.fromkeys([*form.user_ids, *([form.user_id] if form.user_id else [])]))
    if not people:
        raise invalid("userId or userIds is needed.")
    if kind_of(form.kind).urgent:
        raise invalid("This kind is the hub's own.")
    ids: list[str] = []
    for begin in range(0, len(people), BATCH):
        batch = people[begin : begin + BATCH]
        for user_id in sorted(batch):
            await members.ensure(d, change.conn, user_id)
        written = await notify(d, change, [_news(form, user_id) for user_id in batch])
        ids += [str(one.id) for one in written]
    return Accepted(ids=tuple(ids))


def _news(form: Notify, user_id: str) -> News:
    return News(
        user_id,
        form.kind,
        form.title,
        form.body,
        priority=form.priority,
        data=form.data,
        dedup_key=form.dedup_key,
        expires_at=form.expires_at,
        announce=not form.channels or Channel.SOCKET in form.channels,
        channels=tuple(Channel(name) for name in form.channels) or None,
    )
