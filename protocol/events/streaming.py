"""Streams: their products in namespace /, their viewers in /streaming."""

from datetime import datetime
from typing import Any, Final

from protocol.events.row import ClientEvent, ServerEvent
from protocol.names import STREAMING
from protocol.payload import Id, Message, Request


class StreamRef(Request):
    stream_key: Id


class StreamState(Message):
    room: str
    viewers: int


class Viewers(Message):
    viewers: int


class ViewerCount(Message):
    stream_key: str
    viewers: int


class LiveProduct(Message):
    stream_key: str
    published_at: datetime
    data: dict[str, Any]


CLIENT: Final = (
    ClientEvent("join:stream", StreamRef, StreamState),
    ClientEvent("leave:stream", StreamRef, StreamState),
    ClientEvent("stream:viewer:join", StreamRef, Viewers, STREAMING),
    ClientEvent("stream:viewer:leave", StreamRef, Viewers, STREAMING),
)

SERVER: Final = (
    ServerEvent("live:product:added", LiveProduct, "stream:{streamKey}", "room"),
    ServerEvent("live:product:updated", LiveProduct, "stream:{streamKey}", "room"),
    ServerEvent("live:product:soldout", LiveProduct, "stream:{streamKey}", "room"),
    ServerEvent("live:product:deleted", LiveProduct, "stream:{streamKey}", "room"),
    ServerEvent("stream:viewer:count", ViewerCount, "stream:{streamKey}", "volatile", STREAMING),
)
