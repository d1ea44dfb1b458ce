"""A person's inbox, and what services put into it."""

from api.route import Call
from hub.domain.notifications import attention, inbox, notices
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
    query = call.query
    return await inbox.page(
        call.domain,
        call.own(call.path["userId"], or_admin=True),
        after=query.after,
        limit=query.limit,
        unread_only=query.unread,
        kind=query.kind,
    )


async def unread_count(call: Call[None, None]) -> UnreadCount:
    return await inbox.unread_count(call.domain, call.own(call.path["userId"]))


async def tell(call: Call[Notify, None]) -> Accepted:
    return await notices.tell(call.domain, call.service, call.body, call.once)


async def ack(call: Call[Acks, None]) -> UnreadNow:
    d, user_id, body = call.domain, call.person.user_id, call.body
    if body.state == "acknowledged":
        await attention.acknowledge(d, user_id, body.ids, body.question_ids)
        return UnreadNow(unread=(await inbox.unread_count(d, user_id)).count)
    ids = [*body.ids, *await attention.about_questions(d, user_id, body.question_ids)]
    mark = attention.mark_seen if body.state == "seen" else attention.mark_read
    return UnreadNow(unread=await mark(d, user_id, ids))


async def read(call: Call[None, None]) -> UnreadNow:
    unread = await attention.mark_read(call.domain, call.person.user_id, [call.path["id"]])
    return UnreadNow(unread=unread)


async def read_all(call: Call[ReadAll, None]) -> UnreadNow:
    d = call.domain
    before = call.body.before or d.now()
    return UnreadNow(unread=await attention.mark_read(d, call.person.user_id, [], before=before))
