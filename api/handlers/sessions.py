"""Logins: opened by a service, refreshed by a token or a cookie, ended, revoked.

The refresh token of a page of our own may live in a cookie that no script reads. Then a forged
request of another site would bring it along, so two things are asked beside it (S5-09): an Origin,
which every door has checked when a handler runs, and the token that only the page was told.
"""

from typing import Any, Final

from api.admission import METER, MINUTE_MS
from api.route import Call
from hub.domain.people import logins, revocation
from hub.plumbing.limits.fleet import Window
from protocol.address import counted_as
from protocol.errors import Code, HubError, forbidden
from protocol.rest.operation import PREFIX
from protocol.rest.sessions import (
    COOKIE,
    CSRF_HEADER,
    LogoutRequest,
    Refreshed,
    RefreshRequest,
    RevokeRequest,
    Session,
    SessionRequest,
)
from protocol.tokens import RefreshToken, csrf_token, is_csrf_token

COOKIE_PATH: Final = f"{PREFIX}/auth"


async def open_one(call: Call[SessionRequest, None]) -> Session:
    """Open a session for a person you have authenticated."""
    d, ip = call.domain, call.address or None
    return await call.change(
        Session,
        lambda change: logins.open_session(
            d, change, call.service, call.body, user_agent=call.user_agent, ip=ip
        ),
    )


async def refresh(call: Call[RefreshRequest, None]) -> Refreshed:
    """Change a refresh token for the next pair; one that comes twice ends its login.

    Whoever came with the cookie gets the new token in it.
    """
    by_cookie = call.body.refresh_token is None
    text = call.request.cookies.get(COOKIE) if by_cookie else call.body.refresh_token
    token = await _read(call, text)
    if by_cookie:
        _check_page(call, token)
    await _count(call, "route", 10, f"refresh:{token.family}")
    session = await logins.refresh(
        call.domain, token, text or "", user_agent=call.user_agent, ip=call.address or None
    )
    if not (by_cookie or call.body.cookie):
        return Refreshed(
            access_token=session.access_token,
            expires_in=session.expires_in,
            refresh_token=session.refresh_token,
        )
    _set_cookie(call, session.refresh_token, call.domain.policy.refresh_ttl_s)
    return Refreshed(
        access_token=session.access_token,
        expires_in=session.expires_in,
        csrf_token=csrf_token(call.domain.tokens, token.family),
    )


async def logout(call: Call[LogoutRequest, None]) -> None:
    """End this login on all nodes, and disable the device.

    The access token in the header is asked for, so a forged request of another site cannot log
    anybody out, cookie or not.
    """
    cookie = call.request.cookies.get(COOKIE)
    token = _readable(call, call.body.refresh_token or cookie)
    await logins.logout(call.domain, call.person, token, call.body.device_id)
    if cookie is not None:
        _set_cookie(call, "", 0)


async def revoke(call: Call[RevokeRequest, None]) -> None:
    """Revoke a person's tokens from before a moment, or one token; sockets are cut."""
    await revocation.revoke(call.domain, call.body)


async def _read(call: Call[Any, Any], text: str | None) -> RefreshToken:
    """Raises as `logins.read` does; what does not verify is counted by its address."""
    try:
        return logins.read(call.domain, text)
    except HubError as error:
        if error.code == Code.UNAUTHENTICATED:
            await _count(call, "unverified", 30, counted_as(call.address))
        raise


def _readable(call: Call[Any, Any], text: str | None) -> RefreshToken | None:
    """One that has ended by itself needs no ending."""
    if text is None:
        return None
    try:
        return logins.read(call.domain, text)
    except HubError as error:
        if error.code == Code.TOKEN_EXPIRED:
            return None
        raise


def _check_page(call: Call[Any, Any], token: RefreshToken) -> None:
    """Raises FORBIDDEN for a cookie that came without its page's word."""
    if not call.settings.csrf_enabled:
        return
    told = call.request.headers.get(CSRF_HEADER, "")
    if "Origin" not in call.request.headers:
        raise forbidden("The refresh cookie needs an Origin.")
    if not is_csrf_token(call.domain.tokens, token.family, told):
        raise forbidden(f"The refresh cookie needs its {CSRF_HEADER}.")


async def _count(call: Call[Any, Any], scope: str, most: int, who: str) -> None:
    await call.request[METER].check(Window(scope, most, MINUTE_MS), who)


def _set_cookie(call: Call[Any, Any], value: str, max_age: int) -> None:
    call.headers["Set-Cookie"] = (
        f"{COOKIE}={value}; Max-Age={max_age}; Path={COOKIE_PATH}; HttpOnly; Secure; SameSite=Lax"
    )
