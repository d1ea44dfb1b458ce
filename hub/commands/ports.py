"""What every process answers beside its work: where it listens, its health, its metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from typer import echo

from api.health import Vitals
from hub.domain.context import Domain
from hub.plumbing.http.connections import connections_of_door
from hub.plumbing.http.health import LIVE_PATHS, READY_PATHS, STARTUP_PATHS, Check
from hub.plumbing.http.server import HttpServer, Times
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.parsing import Address
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores import redis_client
from hub.plumbing.telemetry.metrics import exposition

Answer = Callable[[web.Request], Awaitable[web.Response]]


async def own_metrics(_: web.Request) -> web.Response:
    body, content_type = exposition()
    return web.Response(body=body, headers={"Content-Type": content_type})


def health_app(vitals: Vitals, metrics: Answer | None = own_metrics) -> web.Application:
    """Health without the rest of the API: what the hub and the metrics port answer."""
    app = web.Application()
    if metrics is not None:
        app.router.add_get("/metrics", metrics)
    for paths, handler in (
        (LIVE_PATHS, vitals.live),
        (READY_PATHS, vitals.ready),
        (STARTUP_PATHS, vitals.startup),
    ):
        for path in paths:
            app.router.add_get(path, handler)
    return app


async def serve_metrics(
    life: Lifecycle, settings: Settings, vitals: Vitals, metrics: Answer = own_metrics
) -> int:
    """Health and /metrics on METRICS_PORT; the port bound."""
    app = health_app(vitals, metrics)
    return await listen(life, "metrics", app, settings, settings.web.metrics_port)


async def listen(
    life: Lifecycle, name: str, app: web.Application, settings: Settings, port: int
) -> int:
    """Serve an app on a port of its own until the process stops; the port bound."""
    bound = await listen_at(life, name, app, settings, settings.web.host, port)
    echo(f"dongne {name} listens on {plain_address(settings, bound)}")
    return bound


async def listen_at(
    life: Lifecycle, name: str, app: web.Application, settings: Settings, host: str, port: int
) -> int:
    """The same at an address of the caller's choice, without a word."""
    figures = settings.sockets
    hops, spared = settings.web.trust_proxy, name == "metrics"
    server = HttpServer(
        app,
        connections_of_door(hops, figures.max_per_ip, figures.max_per_node, spared=spared),
        Times(head=figures.connect_timeout_s, body=figures.connect_timeout_s),
        shutdown_timeout=5,
    )
    life.on_stop(name, server.close)
    return await server.listen(host, port)


def address(settings: Settings, port: int) -> str:
    """The URL of PORT, as somebody on this machine types it."""
    plain = plain_address(settings, port)
    return plain.replace("http", "https", 1) if settings.web.tls_cert_file else plain


def plain_address(settings: Settings, port: int) -> str:
    """The URL of a port beside it, which speaks no TLS."""
    host = "localhost" if settings.web.host in ("127.0.0.1", "0.0.0.0", "::") else settings.web.host
    return f"http://{Address(host, port)}"


def checks(domain: Domain) -> tuple[dict[str, Check], dict[str, Check]]:
    """Whether Postgres answers, and whether Redis takes writes."""
    return (
        {"database": lambda: domain.pool.fetchval("SELECT 1", timeout=2)},
        {"redis": partial(redis_client.probe, domain.redis, domain.keys.probe)},
    )


def pause_before_stop(life: Lifecycle, settings: Settings) -> None:
    """C10: first not ready, then, when no proxy sends anybody any more, no longer accepting."""
    life.on_stop("last of the proxies", partial(asyncio.sleep, settings.process.drain_pause_s))
