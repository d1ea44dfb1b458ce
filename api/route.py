"""One row of the table of routes, and what its handler is given."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import getdoc
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec
from aiohttp import web
from msgspec import Struct

from api.once import Once, change_once
from hub.domain.context import Domain
from hub.domain.people.sessions import Service
from hub.plumbing.settings.process import Web
from hub.plumbing.stores.outbox import Change
from protocol.payload import MAX_ITEMS, Message
from protocol.rest.operation import PREFIX, Auth, Method, Operation, Rate
from protocol.tokens import Token

Caller = Token | Service | None
"""A person by their access token, a service by its key, or nobody."""

B = TypeVar("B")
Q = TypeVar("Q")
A = TypeVar("A", bound=Message)


class Call(Struct, Generic[B, Q], frozen=True):
    """One admitted request: identified, limited, its body and query read into their forms.

    `request` itself is for the few things that stand in no form: a cookie, a header. `headers` are
    added to those of the answer.
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
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    async def change(self, answer: type[A], verb: Callable[[Change], Awaitable[A]]) -> A:
        """What the verb answers in a change of its own; once only for an Idempotency-Key."""
        return await change_once(self.domain, self.once, answer, verb)

    async def may_lag(self) -> bool:
        """Whether a replica will do: whoever calls has written nothing in the last seconds."""
        user_id = self.caller.user_id if isinstance(self.caller, Token) else None
        return await self.domain.reads.may_lag(user_id)

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


Handler = Callable[[Any], Awaitable[Struct | web.Response | None]]
"""Takes a Call; gives the answer's form, nothing (204), or an answer that is no JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Operation):
    """`name` stands in the keys of its limits; `cache_control` is what others are told of keeping
    an answer, empty where nobody may."""

    handler: Handler
    name: str = field(init=False)
    cache_control: str = field(init=False)

    def __post_init__(self) -> None:
        edge = f", s-maxage={self.edge_s}" if self.edge_s else ""
        told = f"public, max-age={self.cache_s}{edge}" if self.cache_s else ""
        object.__setattr__(self, "name", f"{self.method} {self.path}")  # frozen for all others
        object.__setattr__(self, "cache_control", told)


def row(
    method: Method,
    path: str,
    auth: Auth,
    rate: Rate,
    handler: Handler,
    *,
    status: int = 200,
    once: bool = False,
    cache_s: int = 0,
    edge_s: int = 0,
    max_items: int = MAX_ITEMS,
) -> Route:
    """A row of the table of routes; `path` stands behind the prefix of the API.

    What it takes and gives are the forms of the handler's annotations, its summary is the first
    line of the handler's docstring, its chapter the handler's file. A handler that gives nothing
    answers 204. `once`: it takes an Idempotency-Key.
    """
    hints = get_type_hints(handler, include_extras=True)
    body, query = (None if form is NoneType else form for form in get_args(hints["call"]))
    answer = None if hints["return"] is NoneType else hints["return"]
    return Route(
        method=method,
        path=PREFIX + path,
        auth=auth,
        rate=rate,
        summary=_summary(handler),
        tag=_chapter(handler),
        status=204 if answer is None else status,
        body=body,
        query=query,
        answer=answer,
        idempotent=once,
        cache_s=cache_s,
        edge_s=edge_s,
        max_items=max_items,
        handler=handler,
    )


def _summary(handler: Handler) -> str:
    return (getdoc(handler) or "").partition("\n")[0].rstrip(".")


def _chapter(handler: Handler) -> str:
    return handler.__module__.rpartition(".")[2].replace("_", " ")


def html(method: Method, path: str, auth: Auth, rate: Rate, handler: Handler) -> Route:
    """A page of the API's own; `path` stands behind the prefix."""
    return Route(
        method=method,
        path=PREFIX + path,
        auth=auth,
        rate=rate,
        summary=_summary(handler),
        tag=_chapter(handler),
        media=("text/html",),
        handler=handler,
    )


def page(
    path: str, rate: Rate, summary: str, tag: str, handler: Handler, *media: str, cache_s: int = 0
) -> Route:
    """What anybody may read that is none of our forms: documents, pages, health, metrics. `path` is
    the whole one."""
    return Route(
        method="GET",
        path=path,
        auth=Auth("none"),
        rate=rate,
        summary=summary,
        tag=tag,
        cache_s=cache_s,
        media=media or ("application/json",),
        handler=handler,
    )


get = partial(row, "GET")
post = partial(row, "POST")
put = partial(row, "PUT")
delete = partial(row, "DELETE")
