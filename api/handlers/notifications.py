"""A person's inbox, and what services put into it."""

from datetime import datetime

from api.route import Call
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
    query = call.query
    return await inbox.page(
        call.domain,
        call.path["userId"],
        after=query.after,
        limit=query.limit,
        unread_only=query.unread,
        kind=query.kind,
    )


async def unread_count(call: Call[None, None]) -> UnreadCount:
    """How many are unread, in all and by kind."""
    return await inbox.unread_count(call.domain, call.path["userId"])


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
            counts = await inbox.count_unread(change.conn, [user_id], d.now())
            return UnreadNow(unread=counts[user_id].count)
        ids = [*body.ids, *await attention.about_questions(change, user_id, body.question_ids)]
        mark_all = attention.mark_seen if body.state == "seen" else attention.mark_read
        return UnreadNow(unread=await mark_all(d, change, user_id, ids))

    return await call.change(UnreadNow, mark)


async def read(call: Call[None, None]) -> UnreadNow:
    """Read one notification."""
    return await _read(call, [call.path["id"]])


async def remove(call: Call[None, None]) -> None:
    """Delete one notification; it leaves every screen."""
    d, user_id, id = call.domain, call.person.user_id, call.path["id"]
    async with d.outbox.change() as change:
        await attention.delete(d, change, user_id, id)


async def read_all(call: Call[ReadAll, None]) -> UnreadNow:
    """Read everything made until a moment."""
    return await _read(call, [], before=call.body.before or call.domain.now())


async def _read(
    call: Call[None, None] | Call[ReadAll, None], ids: list[str], before: datetime | None = None
) -> UnreadNow:
    d, user_id = call.domain, call.person.user_id

    async def mark(change: Change) -> UnreadNow:
        return UnreadNow(unread=await attention.mark_read(d, change, user_id, ids, before=before))

    return await call.change(UnreadNow, mark)
