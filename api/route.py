"""One row of the table of routes, and what its handler is given."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web
from msgspec import Struct

from hub.domain.context import Domain, Once
from hub.domain.people.sessions import Service
from hub.plumbing.settings.process import Web
from protocol.errors import forbidden
from protocol.rest.operation import Operation
from protocol.tokens import Token

Caller = Token | Service | None
"""A person by their access token, a service by its key, or nobody."""

B = TypeVar("B")
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One admitted request: identified, limited, its body and query read into their forms.

    `request` itself is for the few things that stand in no form: a cookie, a header.
    """

    domain: Domain
    caller: Caller
    path: Mapping[str, str]
    body: B
    query: Q
    once: Once | None
    address: str
    user_agent: str | None
    settings: Web
    request: web.Request
    accept: str = ""

    @property
    def person(self) -> Token:
        assert isinstance(self.caller, Token)
        return self.caller

    @property
    def service(self) -> Service:
        assert isinstance(self.caller, Service)
        return self.caller

    @property
    def is_admin(self) -> bool:
        return isinstance(self.caller, Token) and self.caller.role == "admin"

    def own(self, user_id: str, *, or_admin: bool = False) -> str:
        """The id in the path, when it is the caller's; raises FORBIDDEN."""
        if user_id != self.person.user_id and not (or_admin and self.is_admin):
            raise forbidden("This belongs to another person.")
        return user_id


Handler = Callable[[Any], Awaitable[Struct | web.Response | None]]
"""Takes a Call; gives the answer's form, nothing (204), or an answer that is no JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Operation):
    handler: Handler
