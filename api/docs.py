"""The description of the API: two documents, the codes, and pages to read them on.

The pages hold everything themselves: no script, nothing from another address.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from api import pages
from api.headers import CSP
from api.route import Call, Route, page
from protocol.describe import asyncapi, codes, openapi
from protocol.rest.operation import Operation, Rate

CACHE_S: Final = 300
ANONYMOUS: Final = Rate("anonymous default")

Answer = Callable[[Any], Awaitable[web.Response]]


class Bodies(NamedTuple):
    """What is answered, as it is sent."""

    openapi: bytes
    asyncapi: bytes
    codes: bytes
    start: bytes
    table: bytes


def docs_routes(operations: Sequence[Operation], version: str) -> list[Route]:
    """The bodies are made when the first of them is asked for: they take 0.05 s, which a start
    does not need, and a loop should not stand.
    """
    made = cache(partial(_bodies, operations, version))

    async def bodies() -> Bodies:
        return await asyncio.to_thread(made)

    errors = _document(bodies, lambda one: one.codes)
    found = [
        _route("/docs", "This API, to read", _page(bodies, lambda one: one.start), "text/html"),
        _route("/docs/openapi.json", "OpenAPI 3.1", _document(bodies, lambda one: one.openapi)),
        _route("/docs/asyncapi.json", "AsyncAPI 3", _document(bodies, lambda one: one.asyncapi)),
        _route("/docs/codes.json", "Every code", errors),
    ]
    summary = "Every code, as page or JSON by Accept"
    chosen = _by_accept(_page(bodies, lambda one: one.table), errors)
    return [*found, _route("/docs/codes", summary, chosen, "text/html", "application/json")]


def _bodies(operations: Sequence[Operation], version: str) -> Bodies:
    rest, events, errors = openapi(operations, version), asyncapi(version), codes()
    encode = msgspec.json.encode
    return Bodies(
        openapi=encode(rest),
        asyncapi=encode(events),
        codes=encode(errors),
        start=pages.index(rest, events).encode(),
        table=pages.codes(errors).encode(),
    )


def _route(path: str, summary: str, handler: Answer, *media: str) -> Route:
    return page(path, ANONYMOUS, summary, "docs", handler, *media, cache_s=CACHE_S)


def _document(bodies: Callable[[], Awaitable[Bodies]], one: Callable[[Bodies], bytes]) -> Answer:
    async def handle(_: Any) -> web.Response:
        body = one(await bodies())
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    return handle


def _page(bodies: Callable[[], Awaitable[Bodies]], one: Callable[[Bodies], bytes]) -> Answer:
    style = b64encode(sha256(pages.STYLE.encode()).digest()).decode()
    policy = f"{CSP}; style-src 'sha256-{style}'"

    async def handle(_: Any) -> web.Response:
        body = one(await bodies())
        response = web.Response(body=body, content_type="text/html", charset="utf-8")
        response.headers["Content-Security-Policy"] = policy
        return response

    return handle


def _by_accept(html: Answer, document: Answer) -> Answer:
    async def handle(call: Call[None, None]) -> web.Response:
        wanted = call.request.headers.get("Accept", "")
        response = await (html if "text/html" in wanted else document)(call)
        response.headers["Vary"] = "Accept"
        return response

    return handle
