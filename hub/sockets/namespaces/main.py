"""Namespace /: places, neighbourhoods, questions, the inbox. Each handler is one verb."""

from typing import Any, Final

from hub.domain import homes
from hub.domain import rooms as domain_rooms
from hub.domain.arrival import Arrival
from hub.domain.notifications import attention, inbox
from hub.domain.people import positions, preferences
from hub.domain.questions import claiming, nearby
from hub.engine import Event, Member
from hub.sockets import orders, presence, rooms, token_life
from hub.sockets.context import Entrance, Namespace, Node, event_of
from hub.sockets.guest import guest_of, visible
from hub.sockets.open_alerts import alert
from protocol import names
from protocol.errors import Code, HubError, forbidden, invalid
from protocol.events.inbox import (
    InboxPage,
    InboxSync,
    NotificationAck,
    NotificationRead,
    NotificationSeen,
    Unread,
)
from protocol.events.places import (
    LocationState,
    LocationUpdate,
    NeighbourhoodRef,
    NeighbourhoodState,
)
from protocol.events.questions import ClaimState, QuestionRef, QuestionState, UrgentCard
from protocol.events.rooms import PresenceUpdate, RoomRef
from protocol.events.row import Count, Ok
from protocol.events.session import Ready
from protocol.events.streaming import StreamRef, StreamState
from protocol.events.tags import Followed, TagRef
from protocol.names import neighbourhood_room, question_room, room_kind, stream_room


async def location_update(node: Node, member: Member, form: LocationUpdate) -> LocationState:
    user_id = guest_of(member).user_id
    d = node.domain
    async with d.outbox.change() as change:
        moved = await positions.locate(d, change, user_id, form.lat, form.lng, form.accuracy_m)
    await orders.move(node, moved.move)
    return LocationState(
        region_code=moved.region_code,
        neighbourhood_code=moved.neighbourhood_code,
        rooms=visible(member),
    )


async def neighbourhood_join(
    node: Node, member: Member, form: NeighbourhoodRef
) -> NeighbourhoodState:
    guest, room = guest_of(member), neighbourhood_room(form.code)
    kind = room_kind(room)
    joined = [name for name in guest.grounds.asked if name != room and room_kind(name) == kind]
    await domain_rooms.may_join_neighbourhood(node.domain, form.code, len(joined))
    await rooms.ask(node, member, room)
    return NeighbourhoodState(
        room=room,
        online=await presence.online(node, member.namespace.name, room),
        recent=await _recent(node, form.code),
    )


async def _recent(node: Node, code: str) -> tuple[UrgentCard, ...] | None:
    """None while Postgres is away: the join itself needs it not."""
    try:
        return await nearby.recent(node.domain, code)
    except HubError as error:
        if error.code != Code.UNAVAILABLE:
            raise
        return None


async def neighbourhood_leave(node: Node, member: Member, form: NeighbourhoodRef) -> Ok:
    await rooms.forgo(node, member, neighbourhood_room(form.code))
    return Ok()


async def question_join(node: Node, member: Member, form: QuestionRef) -> QuestionState:
    """While Postgres is away nobody can say whether the question exists; an empty room does no
    harm, and recovery asks again."""
    answers: int | None
    try:
        answers = await domain_rooms.answers_of(node.domain, form.question_id)
    except HubError as error:
        if error.code != Code.UNAVAILABLE:
            raise
        answers = None
    room = question_room(form.question_id)
    await rooms.ask(node, member, room)
    return QuestionState(room=room, answers=answers)


async def question_leave(node: Node, member: Member, form: QuestionRef) -> Ok:
    await rooms.forgo(node, member, question_room(form.question_id))
    return Ok()


async def question_claim(node: Node, member: Member, form: QuestionRef) -> ClaimState:
    d, user_id = node.domain, guest_of(member).user_id
    async with d.outbox.change() as change:
        return await claiming.claim(d, change, user_id, form.question_id)


async def question_release(node: Node, member: Member, form: QuestionRef) -> ClaimState:
    d, user_id = node.domain, guest_of(member).user_id
    async with d.outbox.change() as change:
        return await claiming.release(d, change, user_id, form.question_id)


async def tag_follow(node: Node, member: Member, form: TagRef) -> Followed:
    d, user_id = node.domain, guest_of(member).user_id
    async with d.outbox.change() as change:
        hashtags, move = await preferences.follow(d, change, user_id, form.hashtag)
    await orders.move(node, move)
    return Followed(hashtags=hashtags)


async def tag_unfollow(node: Node, member: Member, form: TagRef) -> Followed:
    d, user_id = node.domain, guest_of(member).user_id
    async with d.outbox.change() as change:
        hashtags, move = await preferences.unfollow(d, change, user_id, form.hashtag)
    await orders.move(node, move)
    return Followed(hashtags=hashtags)


async def inbox_sync(node: Node, member: Member, form: InboxSync) -> InboxPage:
    user_id = guest_of(member).user_id
    return await inbox.sync(await homes.of(node.domain, user_id), user_id, form.after, form.limit)


async def notification_ack(node: Node, member: Member, form: NotificationAck) -> Count:
    if not form.ids and not form.question_ids:
        raise invalid("ids or questionIds is needed.")
    user_id = guest_of(member).user_id
    shown = attention.Shown(user_id, form.ids, form.question_ids)
    return Count(count=await node.acks.take(shown))


async def notification_seen(node: Node, member: Member, form: NotificationSeen) -> Unread:
    user_id = guest_of(member).user_id
    d = await homes.of(node.domain, user_id)
    async with d.outbox.change() as change:
        return Unread(unread=await attention.mark_seen(d, change, user_id, form.ids, by=member.sid))


async def notification_read(node: Node, member: Member, form: NotificationRead) -> Unread:
    if form.all == bool(form.ids):
        raise invalid("Either ids or all is needed.")
    if form.before is not None and (not form.all or form.before.tzinfo is None):
        raise invalid("before goes with all, and has a time zone.")
    before = (form.before or node.domain.now()) if form.all else None
    user_id = guest_of(member).user_id
    d = await homes.of(node.domain, user_id)
    async with d.outbox.change() as change:
        unread = await attention.mark_read(
            d, change, user_id, form.ids, before=before, by=member.sid
        )
    return Unread(unread=unread)


async def join_stream(node: Node, member: Member, form: StreamRef) -> StreamState:
    """Products of a stream; its viewers are those of /streaming."""
    room = stream_room(form.stream_key)
    await rooms.ask(node, member, room)
    return StreamState(room=room, viewers=await presence.online(node, member.namespace.name, room))


async def leave_stream(node: Node, member: Member, form: StreamRef) -> StreamState:
    room = stream_room(form.stream_key)
    await rooms.forgo(node, member, room)
    return StreamState(room=room, viewers=await presence.online(node, member.namespace.name, room))


async def presence_get(node: Node, member: Member, form: RoomRef) -> Count:
    """Raises FORBIDDEN for a room the caller is not in, or whose people are not counted."""
    told = node.namespaces[member.namespace.name].told
    if not (rooms.has(member, form.room) and room_kind(form.room) in told):
        raise forbidden("Only rooms that you are in, and whose people are counted.")
    return Count(count=await presence.online(node, member.namespace.name, form.room))


async def _welcome(node: Node, user_id: str) -> Arrival:
    """Raises FORBIDDEN for somebody erased."""
    return await node.arrivals(user_id)


def _greet(node: Node, member: Member, entrance: Entrance) -> None:
    """`ready` first, then the open urgent questions of its places, then what was held back."""
    guest, welcome = guest_of(member), entrance.welcome
    ready = Ready(
        sid=member.sid,
        user_id=guest.user_id,
        rooms=visible(member),
        unread=welcome.unread if welcome else None,
        server_time=node.domain.now(),
        recovered=entrance.recovered,
        pid=guest.session.pid if guest.session else None,
    )
    assert member.hold is not None
    told = {_id_of(event) for event in member.hold}
    missing = [alert(one) for one in entrance.near if one.id not in told]
    member.hold[:0] = [event_of("ready", ready), *missing]


def _id_of(event: Event) -> Any:
    data = event.args[1] if len(event.args) > 1 else None
    return data.get("id") if isinstance(data, dict) else None


COUNTED: Final = frozenset({"region:", "neighbourhood:", "tag:", "question:"})

MAIN: Final = Namespace(
    name=names.MAIN,
    handlers={
        "auth:refresh": token_life.refresh,
        "location:update": location_update,
        "neighbourhood:join": neighbourhood_join,
        "neighbourhood:leave": neighbourhood_leave,
        "question:join": question_join,
        "question:leave": question_leave,
        "question:claim": question_claim,
        "question:release": question_release,
        "tag:follow": tag_follow,
        "tag:unfollow": tag_unfollow,
        "join:stream": join_stream,
        "leave:stream": leave_stream,
        "presence:get": presence_get,
        "inbox:sync": inbox_sync,
        "notification:ack": notification_ack,
        "notification:seen": notification_seen,
        "notification:read": notification_read,
    },
    welcome=_welcome,
    greet=_greet,
    counted=COUNTED,
    told=COUNTED | {presence.STREAM},  # whose people are the viewers, in /streaming
    count=lambda room, count: ("presence:update", PresenceUpdate(room=room, count=count)),
)
