"""Notices: what other services tell people through POST /notifications."""

from collections.abc import Sequence
from functools import partial

from hub.domain import members
from hub.domain.context import Domain, Once, do_once
from hub.domain.inbox import URGENT_KIND, News, notify
from hub.domain.sessions import Service
from hub.plumbing.stores.outbox import Change
from protocol.errors import invalid
from protocol.rest import Accepted, Notify

BATCH = 100


async def tell(d: Domain, caller: Service, form: Notify, once: Once | None = None) -> Accepted:
    """Write a notification for each person; whoever has one under the same dedupKey is skipped.

    Raises FORBIDDEN without notify:write, INVALID_PAYLOAD without a recipient.
    """
    caller.need("notify:write")
    people = tuple(dict.fromkeys([*form.user_ids, *([form.user_id] if form.user_id else [])]))
    if not people:
        raise invalid("userId or userIds is needed.")
    if form.kind == URGENT_KIND:
        raise invalid("This kind is the hub's own.")
    return await do_once(d, once, Accepted, partial(_tell, d, people, form))


async def _tell(d: Domain, people: Sequence[str], form: Notify, change: Change) -> Accepted:
    ids: list[str] = []
    online = await d.presence.online(list(people))
    for begin in range(0, len(people), BATCH):
        batch = people[begin : begin + BATCH]
        for user_id in sorted(batch):
            await members.ensure(change.conn, user_id)
        told = await notify(d, change, [_news(form, user_id) for user_id in batch], online)
        ids += [str(one.id) for one in told]
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
        announce=True,
    )
