"""The REST door, put together: the table's routes behind the gate."""

import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from api.docs import docs_routes
from api.gate import Gate
from api.health import METRICS, Vitals, health_routes
from api.reading import MAX_BODY
from api.route import Route
from api.routes import ROUTES
from hub.domain.context import Domain
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.process import Web
from hub.plumbing.telemetry.logs import AccessLog
from protocol.rest.operation import PREFIX

_PART: Final = re.compile(r"\{(\w+)\}")
"""aiohttp's own form of such a part takes no braces, so an id with some would find nothing."""


def create_app(
    domain: Domain,
    limits: Limits,
    part: Web,
    access: AccessLog,
    vitals: Vitals,
    version: str = "unknown",
    *,
    table: Sequence[Route] = ROUTES,
    with_metrics: bool = False,
) -> web.Application:
    """An application for aiohttp's runner; it holds nothing that must be closed.

    `table`: the routes in force. `with_metrics`: /metrics here, too, for a process whose doors
    share one port.
    """
    gate = Gate(domain, limits, part, access)
    app = web.Application(middlewares=[gate.middleware], client_max_size=MAX_BODY)
    health = health_routes(vitals)
    described = [*table, *(route for route in health if route.path.startswith(PREFIX))]
    routes = [*table, *health, *docs_routes(described, version)]
    if with_metrics:
        routes.append(METRICS)
    for route in routes:
        handler = gate.handler(route)
        path = _PART.sub(r"{\1:[^/]+}", route.path)
        app.router.add_route(route.method, path, handler, expect_handler=_not_yet)
        if route.method == "GET":
            app.router.add_route("HEAD", path, handler)
    return app


async def _not_yet(_: web.Request) -> None:
    """Whether the body is wanted is known later, when it is read."""
