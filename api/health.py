"""Health of this process (C07–C09): whoever starts it says what it needs and what it reports."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from aiohttp import web

from api.route import Handler, Route, page
from hub.plumbing.http.health import (
    LIVE_PATHS,
    READY_PATHS,
    STARTUP_PATHS,
    Check,
    Health,
    examine,
    held,
    live_body,
    ready_body,
    startup_body,
)
from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.telemetry.metrics import exposition
from protocol.rest.operation import Rate


async def _yes() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Vitals:
    """`needed` decide readiness, `reported` are only told; `started` and `leaving` are asked.
    `latest` is what the checks have found, at most a second old.
    """

    needed: Mapping[str, Check]
    reported: Mapping[str, Check] = field(default_factory=dict)
    started: Callable[[], Awaitable[bool]] = _yes
    leaving: Callable[[], bool] = lambda: False
    clock: Clock = field(default_factory=SystemClock)
    latest: Callable[[], Awaitable[Health]] = field(init=False)

    def __post_init__(self) -> None:
        look = held(partial(examine, self.needed, self.reported))
        object.__setattr__(self, "latest", look)

    async def live(self, _: object) -> web.Response:
        return _json(live_body(self.clock.now()))

    async def ready(self, _: object) -> web.Response:
        health = replace(await self.latest(), going_away=self.leaving())
        return _json(ready_body(health, self.clock.now()))

    async def startup(self, _: object) -> web.Response:
        return _json(startup_body(await self.started()))


def _json(answer: tuple[int, dict[str, Any]]) -> web.Response:
    status, body = answer
    return web.json_response(body, status=status)


def health_routes(vitals: Vitals) -> list[Route]:
    """The canonical paths and their aliases (C07)."""
    live = [_route(path, "The process runs", vitals.live) for path in LIVE_PATHS]
    ready = [_route(path, "It can serve", vitals.ready) for path in READY_PATHS]
    startup = [_route(path, "It has started", vitals.startup) for path in STARTUP_PATHS]
    return live + ready + startup


def _route(path: str, summary: str, handler: Handler, *media: str) -> Route:
    return page(path, Rate("exempt"), summary, "operations", handler, *media)


async def _metrics(_: object) -> web.Response:
    body, content_type = exposition()
    return web.Response(body=body, headers={"Content-Type": content_type})


METRICS: Final = _route("/metrics", "Prometheus metrics", _metrics, "text/plain")
