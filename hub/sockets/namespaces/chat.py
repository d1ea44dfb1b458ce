"""Namespace /chat: rooms where people talk (S5-20 … S5-24). What is said is kept, then told."""

from typing import Final

from hub.domain import chat
from hub.domain.chat import Said
from hub.domain.rooms import check_room
from hub.engine import Member
from hub.plumbing.telemetry.trace import mark
from hub.sockets import presence, rooms
from hub.sockets.context import Namespace, Node
from hub.sockets.guest import guest_of
from protocol import names
from protocol.errors import Code, HubError, forbidden
from protocol.events.chat import (
    ChatBan,
    ChatBanned,
    ChatComing,
    ChatDelete,
    ChatMessage,
    ChatRoomRef,
    ChatRoomState,
    ChatSend,
    ChatSent,
)
from protocol.events.rooms import PresenceUpdate
from protocol.events.row import Ok
from protocol.names import chat_room
from protocol.payload import Message

CHAT_KIND: Final = "chat:"


async def join_room(node: Node, member: Member, form: ChatRoomRef) -> ChatRoomState:
    """While Postgres is away nobody can say who is banned. Nothing can be said in a room then, and
    whoever came in is looked after as soon as it is back (`Node.doubt`).
    """
    user_id, room = guest_of(member).user_id, chat_room(form.room_id)
    check_room(room)
    recent: tuple[ChatMessage, ...] | None = None
    try:
        await chat.check_entry(node.domain, user_id, room)
        await rooms.ask(node, member, room)
        recent = await chat.enter(node.domain, user_id, room)
    except HubError as error:
        if error.code == Code.FORBIDDEN:
            await rooms.forgo(node, member, room)
        if error.code != Code.UNAVAILABLE:
            raise
        await rooms.ask(node, member, room)
        node.doubt(user_id)
    return ChatRoomState(
        room=room, online=await presence.online(node, member.namespace.name, room), recent=recent
    )


async def leave_room(node: Node, member: Member, form: ChatRoomRef) -> Ok:
    user_id, room = guest_of(member).user_id, chat_room(form.room_id)
    await rooms.forgo(node, member, room)
    try:
        await chat.leave(node.domain, user_id, room)
    except HubError as error:  # the socket is out; a membership that stays lets its person read
        if error.code != Code.UNAVAILABLE:
            raise
    return Ok()


async def send_message(node: Node, member: Member, form: ChatSend) -> ChatSent:
    """Messages of one socket go out in the order in which it sent them."""
    if not rooms.has(member, chat_room(form.room_id)):
        raise forbidden("Join the room first.")
    answer = await node.talk(Said(guest_of(member).user_id, form, mark()))
    if isinstance(answer, HubError):
        raise answer
    return answer


async def delete_message(node: Node, member: Member, form: ChatDelete) -> Ok:
    admin = _admin(member)
    async with node.domain.outbox.change() as change:
        await chat.delete(node.domain, change, admin, form.room_id, form.message_id)
    return Ok()


async def ban(node: Node, member: Member, form: ChatBan) -> ChatBanned:
    _admin(member)
    check_room(chat_room(form.room_id))
    async with node.domain.outbox.change() as change:
        return await chat.ban(node.domain, change, form)


def _admin(member: Member) -> str:
    """Who acts. Raises FORBIDDEN for a token without the role (S5-24)."""
    access = guest_of(member).access
    if access.role != "admin":
        raise forbidden("This needs an administrator.")
    return access.user_id


def _coming(event: str, room: str, user_id: str, online: int) -> tuple[str, Message]:
    room_id = room.removeprefix(CHAT_KIND)
    return event, ChatComing(room_id=room_id, user_id=user_id, online=online)


CHAT: Final = Namespace(
    name=names.CHAT,
    handlers={
        "chat:join-room": join_room,
        "chat:leave-room": leave_room,
        "chat:send-message": send_message,
        "chat:delete-message": delete_message,
        "chat:ban": ban,
    },
    counted=frozenset({CHAT_KIND}),
    told=frozenset({CHAT_KIND}),
    count=lambda room, count: ("presence:update", PresenceUpdate(room=room, count=count)),
    came=lambda *who: _coming("chat:user-joined", *who),
    went=lambda *who: _coming("chat:user-left", *who),
)
