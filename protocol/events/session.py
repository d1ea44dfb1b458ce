"""The connection itself: its first word and its last, and the token that it lives by."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from protocol.events.row import ClientEvent, ServerEvent
from protocol.payload import Message, Request


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


class AuthRefresh(Request):
    """A new access token of the same person."""

    token: Annotated[str, Meta(max_length=4096)]


class TokenEnd(Message):
    expires_at: datetime


class SessionRevoked(Message):
    """Then the socket is disconnected for good: whoever comes back needs another login."""

    reason: str


CLIENT: Final = (ClientEvent("auth:refresh", AuthRefresh, TokenEnd),)

SERVER: Final = (
    ServerEvent("ready", Ready, "the socket", "-"),
    ServerEvent("auth:expiring", TokenEnd, "the socket", "-"),
    ServerEvent("auth:expired", TokenEnd, "the socket", "-"),
    ServerEvent("session:revoked", SessionRevoked, "user:{id}", "alert"),
    ServerEvent("server:shutdown", ServerShutdown, "sockets of the node", "-"),
)
