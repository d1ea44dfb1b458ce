"""Who may call, and how often: what is decided before a request's body is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec
from aiohttp import web

from api.route import Caller, Route
from hub.domain.context import Domain
from hub.domain.people import sessions
from hub.domain.people.sessions import Service
from hub.plumbing.limits.fleet import Limits, Verdict, Window
from hub.plumbing.settings.process import Web
from protocol.address import counted_as
from protocol.errors import Code, HubError, forbidden
from protocol.service_keys import SERVICE_KEY_PREFIX
from protocol.tokens import Token, is_service_token

MINUTE_MS = 60_000
READS = ("GET", "HEAD")


async def identify(d: Domain, route: Route, request: web.Request) -> Caller:
    """The caller by the Authorization header; nobody without one, where that is allowed.

    Raises UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED, FORBIDDEN for the wrong kind or scope,
    UNAVAILABLE for a write whose token cannot be checked while Redis is away (C18).
    """
    header = request.headers.get("Authorization")
    # an old access token may well stand beside what is proof here
    if route.auth.proof or route.auth.kind == "link":
        return None
    if header is None:
        if route.auth.kind == "none":
            return None
        raise HubError(Code.UNAUTHENTICATED)
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer":
        raise HubError(Code.UNAUTHENTICATED)
    caller = await _verified(d, text.strip(), is_read=request.method in READS)
    _check_kind(route, caller)
    return caller


async def _verified(d: Domain, text: str, *, is_read: bool) -> Token | Service:
    if text.startswith(SERVICE_KEY_PREFIX):
        return await sessions.service(d, text)
    if is_service_token(text):
        return await sessions.service_by_token(d, text, may_skip_revocation=is_read)
    return await sessions.verify(d, text, may_skip_revocation=is_read)


def _check_kind(route: Route, caller: Token | Service) -> None:
    if route.auth.kind == "user" and not (isinstance(caller, Token) or route.auth.scope):
        raise forbidden("This needs a person's access token.")
    if route.auth.kind == "admin" and isinstance(caller, Token) and caller.role != "admin":
        raise forbidden("This needs an administrator.")
    allowed = route.auth.admin and isinstance(caller, Token) and caller.role == "admin"
    if route.auth.kind == "service" and not (isinstance(caller, Service) or allowed):
        raise forbidden("This needs a service key.")
    if isinstance(caller, Service) and route.auth.kind != "none":
        if not route.auth.scope:
            raise forbidden("This needs an administrator.")
        caller.need(route.auth.scope)


def check_own(route: Route, caller: Caller, path: Mapping[str, str]) -> None:
    """Of a route of one's own a person named in the path is the caller. Raises FORBIDDEN."""
    user_id = path.get("userId")
    if route.auth.own != "self" or user_id is None or not isinstance(caller, Token):
        return
    if user_id != caller.user_id and not (route.auth.admin and caller.role == "admin"):
        raise forbidden("This belongs to another person.")


def subject(caller: Caller) -> str:
    """Whom a limit or an Idempotency-Key belongs to; empty for nobody."""
    if isinstance(caller, Token):
        return f"user:{caller.user_id}"
    return f"service:{caller.id}" if isinstance(caller, Service) else ""


@dataclass(slots=True)
class Meter:
    """Counts one request against its limits; `tightest` of them is told in its answer, whatever
    that is."""

    limits: Limits
    part: Web
    tightest: Verdict | None = None

    def of_call(self, route: Route, caller: Caller, address: str) -> tuple[Window, str] | None:
        """C12: what counts a call, and whose it is: the table's figure, else the default of who
        calls. None: nothing does."""
        rate = route.rate
        if rate.by or rate.word.startswith(("exempt", "none")):
            return None
        if isinstance(caller, Service):
            return Window("service_calls", caller.calls_per_min, MINUTE_MS), subject(caller)
        if rate.per_minute:
            who = subject(caller) or counted_as(address)
            return _a_minute(rate.per_minute), f"{route.name}:{who}"
        if caller is None:
            return self._anonymous, counted_as(address)
        window = Window("user", self.part.user_rate_max, self.part.user_rate_window_ms)
        return window, f"{route.name}:{subject(caller)}"

    async def anonymous(self, address: str) -> None:
        """One call of nobody in particular. Raises RATE_LIMITED."""
        await self.check(self._anonymous, counted_as(address))

    @property
    def _anonymous(self) -> Window:
        return Window("anonymous", self.part.rate_max, self.part.rate_window_ms)

    async def body(self, route: Route, caller: Caller, body: object) -> None:
        """What only the body tells: a list counts its length, a field may be who is counted."""
        if route.rate.by and not route.rate.unverified:
            who = msgspec.to_builtins(body)[route.rate.by]
            await self.check(_a_minute(route.rate.per_minute), f"{route.name}:{who}")
        if isinstance(caller, Service) and route.auth.kind == "service":
            window = Window("service_items", caller.items_per_min, MINUTE_MS)
            await self.check(window, caller.id, items_of(body))

    async def check(self, window: Window, who: str, n: int = 1) -> None:
        """Raises RATE_LIMITED."""
        verdict = await self.limits.check(window, who, n)
        known = self.tightest
        if known is None or not verdict.allowed or verdict.remaining < known.remaining:
            self.tightest = verdict
        if not verdict.allowed:
            raise HubError(Code.RATE_LIMITED, retry_after_ms=verdict.retry_after_ms)

    @property
    def headers(self) -> dict[str, str]:
        if self.tightest is None:
            return {}
        allowed, limit, remaining, retry_after_ms = self.tightest
        told = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining)}
        return told if allowed else {**told, "X-RateLimit-Reset": seconds(retry_after_ms)}


METER = web.RequestKey("meter", Meter)


def seconds(ms: int) -> str:
    """Whole seconds, never too few (RFC 9110 §10.2.3)."""
    return str(max(1, -(-ms // 1000)))


def items_of(body: object) -> int:
    if isinstance(body, tuple):
        return len(body)
    return max(1, len(getattr(body, "user_ids", ())))


@cache
def _a_minute(limit: int) -> Window:
    """Of the few figures that the table has."""
    return Window("route", limit, MINUTE_MS)
