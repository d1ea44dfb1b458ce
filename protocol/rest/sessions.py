"""Sessions that a service opens for a person it has authenticated."""

from typing import Annotated, Literal

from msgspec import Meta

from protocol.payload import Id, Message, Request


class SessionRequest(Request):
    user_id: Id
    role: Literal["user", "admin"] = "user"
    ttl: Annotated[int, Meta(ge=1)] | None = None


class Session(Message):
    access_token: str
    refresh_token: str
    expires_in: int
