"""A person's inbox, and what services put into it."""

from datetime import datetime

from api.route import Call
from hub.domain import homes
from hub.domain.notifications import attention, inbox, notices
from hub.plumbing.stores.outbox import Change
from protocol.rest.notifications import (
    Accepted,
    Acks,
    InboxList,
    InboxQuery,
    Notify,
    ReadAll,
    UnreadCount,
    UnreadNow,
)


async def listed(call: Call[None, InboxQuery]) -> InboxList:
    """A person's inbox, newest first."""
    query, user_id = call.query, call.path["userId"]
    return await inbox.page(
        await homes.of(call.domain, user_id),
        user_id,
        after=query.after,
        limit=query.limit,
        unread_only=query.unread,
        kind=query.kind,
    )


async def unread_count(call: Call[None, None]) -> UnreadCount:
    """How many are unread, in all and by kind."""
    user_id = call.path["userId"]
    return await inbox.unread_count(await homes.of(call.domain, user_id), user_id)


async def tell(call: Call[Notify, None]) -> Accepted:
    """Notify people; whoever has one under the same dedupKey is skipped."""
    d, caller = call.domain, call.service
    return await call.change(Accepted, lambda change: notices.tell(d, change, caller, call.body))


async def ack(call: Call[Acks, None]) -> UnreadNow:
    """Shown, seen or read; ids that are not yours are ignored."""
    d, user_id, body = call.domain, call.person.user_id, call.body

    async def mark(change: Change) -> UnreadNow:
        if body.state == "acknowledged":
            shown = attention.Shown(user_id, body.ids, body.question_ids)
            await attention.acknowledge(d, change, [shown])
        async with homes.change(d, user_id, change) as (home, its):
            if body.state == "acknowledged":
                counts = await inbox.count_unread(its.conn, [user_id], d.now())
                return UnreadNow(unread=counts[user_id].count)
            ids = [*body.ids, *await attention.about_questions(its, user_id, body.question_ids)]
            mark_all = attention.mark_seen if body.state == "seen" else attention.mark_read
            return UnreadNow(unread=await mark_all(home, its, user_id, ids))

    return await call.change(UnreadNow, mark)


async def read(call: Call[None, None]) -> UnreadNow:
    """Read one notification."""
    return await _read(call, [call.path["id"]])


async def remove(call: Call[None, None]) -> None:
    """Delete one notification; it leaves every screen."""
    user_id, id = call.person.user_id, call.path["id"]
    home = await homes.of(call.domain, user_id)
    async with home.outbox.change() as change:
        await attention.delete(home, change, user_id, id)


async def read_all(call: Call[ReadAll, None]) -> UnreadNow:
    """Read everything made until a moment."""
    return await _read(call, [], before=call.body.before or call.domain.now())


async def _read(
    call: Call[None, None] | Call[ReadAll, None], ids: list[str], before: datetime | None = None
) -> UnreadNow:
    d, user_id = call.domain, call.person.user_id

    async def mark(change: Change) -> UnreadNow:
        async with homes.change(d, user_id, change) as (home, its):
            unread = await attention.mark_read(home, its, user_id, ids, before=before)
            return UnreadNow(unread=unread)

    return await call.change(UnreadNow, mark)
