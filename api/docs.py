"""The description of the API: two documents, the codes, and pages to read them on.

The pages hold everything themselves: no script, nothing from another address.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import web

from api import pages
from api.headers import CSP
from api.route import Call, Route
from protocol.describe import asyncapi, codes, openapi
from protocol.rest.operation import Auth, Operation, Rate

CACHE_S = 300

Answer = Callable[[Any], Awaitable[web.Response]]


def docs_routes(operations: Sequence[Operation], version: str) -> list[Route]:
    rest, events, errors = openapi(operations, version), asyncapi(version), codes()
    index, table = _page(pages.index(rest, events)), _page(pages.codes(errors))
    found = [
        _route("/docs", "This API, to read", index, "text/html"),
        _route("/docs/openapi.json", "OpenAPI 3.1", _document(rest)),
        _route("/docs/asyncapi.json", "AsyncAPI 3", _document(events)),
        _route("/docs/codes.json", "Every code", _document(errors)),
    ]
    summary = "Every code, as page or JSON by Accept"
    chosen = _by_accept(table, _document(errors))
    return [*found, _route("/docs/codes", summary, chosen, "text/html", "application/json")]


def _route(path: str, summary: str, handler: Answer, *media: str) -> Route:
    return Route(
        method="GET",
        path=path,
        auth=Auth("none"),
        rate=Rate("anonymous default"),
        summary=summary,
        tag="docs",
        cache_s=CACHE_S,
        media=media or ("application/json",),
        handler=handler,
    )


def _document(value: dict[str, Any]) -> Answer:
    body = msgspec.json.encode(value)

    async def handle(_: Any) -> web.Response:
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    return handle


def _page(html: str) -> Answer:
    body = html.encode()
    style = b64encode(sha256(pages.STYLE.encode()).digest()).decode()
    policy = f"{CSP}; style-src 'sha256-{style}'"

    async def handle(_: Any) -> web.Response:
        response = web.Response(body=body, content_type="text/html", charset="utf-8")
        response.headers["Content-Security-Policy"] = policy
        return response

    return handle


def _by_accept(page: Answer, document: Answer) -> Answer:
    async def handle(call: Call[None, None]) -> web.Response:
        response = await (page if "text/html" in call.accept else document)(call)
        response.headers["Vary"] = "Accept"
        return response

    return handle
