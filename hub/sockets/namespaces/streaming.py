"""Namespace /streaming: who watches a stream (S5-28). A viewer counts while a lease is renewed."""

from typing import Final

from hub.engine import Member
from hub.sockets import presence, rooms
from hub.sockets.context import Namespace, Node
from hub.sockets.presence import STREAM
from protocol import names
from protocol.events.streaming import StreamRef, ViewerCount, Viewers
from protocol.names import stream_room
from protocol.payload import Message


async def viewer_join(node: Node, member: Member, form: StreamRef) -> Viewers:
    room = stream_room(form.stream_key)
    await rooms.ask(node, member, room)
    return Viewers(viewers=await presence.online(node, member.namespace.name, room))


async def viewer_leave(node: Node, member: Member, form: StreamRef) -> Viewers:
    room = stream_room(form.stream_key)
    await rooms.forgo(node, member, room)
    return Viewers(viewers=await presence.online(node, member.namespace.name, room))


def _count(room: str, count: int) -> tuple[str, Message]:
    return "stream:viewer:count", ViewerCount(stream_key=room.removeprefix(STREAM), viewers=count)


STREAMING: Final = Namespace(
    name=names.STREAMING,
    handlers={
        "stream:viewer:join": viewer_join,
        "stream:viewer:leave": viewer_leave,
    },
    counted=frozenset({STREAM}),
    told=frozenset({STREAM}),
    count=_count,
)
