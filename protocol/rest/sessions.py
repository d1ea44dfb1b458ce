"""Sessions that a service opens for a person it has authenticated: refreshed, ended, revoked."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from protocol.payload import Id, Message, Moment, Request, TokenId

COOKIE: Final = "dongne_refresh"
CSRF_HEADER: Final = "X-CSRF-Token"


class SessionRequest(Request):
    user_id: Id
    role: Literal["user", "admin"] = "user"
    ttl: Annotated[int, Meta(ge=1)] | None = None


class Session(Message):
    access_token: str
    refresh_token: str
    expires_in: int


class RefreshRequest(Request):
    """Without `refreshToken` the one in the cookie is meant. `cookie`: the new one goes there."""

    refresh_token: Annotated[str, Meta(max_length=4096)] | None = None
    cookie: bool = False


class Refreshed(Message, omit_defaults=True):
    """The refresh token, or, where that is in the cookie, what proves the page beside it."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None
    csrf_token: str | None = None


class LogoutRequest(Request):
    refresh_token: Annotated[str, Meta(max_length=4096)] | None = None
    device_id: Id | None = None


class RevokeRequest(Request):
    """All of a person's from before a moment, now by default; or one token."""

    user_id: Id | None = None
    issued_before: Moment | None = None
    jti: TokenId | None = None
