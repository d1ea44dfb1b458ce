"""Namespace /streaming: who watches a stream (S5-28). A viewer counts while a lease is renewed."""

from collections.abc import Mapping
from typing import Final

from hub.engine import Member
from hub.sockets import presence, rooms
from hub.sockets.node import Handler, Node
from protocol.events.streaming import StreamRef, Viewers
from protocol.names import stream_room


async def viewer_join(node: Node, member: Member, form: StreamRef) -> Viewers:
    room = stream_room(form.stream_key)
    await rooms.ask(node, member, room)
    return Viewers(viewers=await presence.online(node, room))


async def viewer_leave(node: Node, member: Member, form: StreamRef) -> Viewers:
    room = stream_room(form.stream_key)
    await rooms.forgo(node, member, room)
    return Viewers(viewers=await presence.online(node, room))


HANDLERS: Final[Mapping[str, Handler]] = {
    "stream:viewer:join": viewer_join,
    "stream:viewer:leave": viewer_leave,
}
