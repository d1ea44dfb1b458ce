"""The connection itself: its first word and its last."""

from datetime import datetime
from typing import Final

from protocol.events.row import ServerEvent
from protocol.payload import Message


class Ready(Message):
    sid: str
    user_id: str
    rooms: tuple[str, ...]
    unread: int | None
    server_time: datetime
    protocol: int = 1
    recovered: bool = False
    pid: str | None = None


class ServerShutdown(Message):
    reason: str
    reconnect_after_ms: int


SERVER: Final = (
    ServerEvent("ready", Ready, "the socket", "-"),
    ServerEvent("server:shutdown", ServerShutdown, "sockets of the node", "-"),
)
