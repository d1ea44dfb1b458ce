"""Starts one door, or all three: what is started, in what order; the stop is the reverse (C10).

Each door prints one line when it may be asked: `dongne NAME ready on URL`. Several processes of
the hub are started by hub.processes.
"""

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import structlog
from aiohttp import web
from typer import echo

from api.app import create_app
from api.health import Vitals
from hub.commands.ports import address, health_app, listen, listen_at, plain_address, serve_metrics
from hub.console.catcher import Catcher, catcher
from hub.console.page import mount
from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.people.sessions import ALL_SCOPES, add_service
from hub.embedded import Postgres, Valkey, keep
from hub.embedded.supervisor import free_port
from hub.engine.process import freeze_start, watch_lag
from hub.plumbing.http.connections import raise_descriptors
from hub.plumbing.http.health import Check
from hub.plumbing.life.lifecycle import Lifecycle, run
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.process import Database
from hub.plumbing.settings.settings import Settings, development_secrets
from hub.plumbing.stores import redis_client
from hub.plumbing.stores.migrations import Migration, Phase, latest, migrate, rollback, version
from hub.plumbing.stores.postgres import Connection, dial
from hub.plumbing.telemetry import logs as telemetry
from hub.plumbing.telemetry.logs import AccessLog
from hub.sockets.assembly import Door, open_hub
from workers.channels.provider import open_providers
from workers.runner import Pace, run_worker

CREDENTIALS: Final = "credentials.json"
"""In EMBEDDED_DIR (0600): where the hub is and a key for it, so that scripts can start at once."""


def run_door(name: str, environ: Mapping[str, str]) -> int:
    """Run `hub`, `api`, `worker` or `up` until it is told to stop; the exit code.

    Raises SettingsError before anything is started.
    """
    settings = Settings.load(environ, complete=name != "up")
    telemetry.configure(settings)
    raise_descriptors()
    main = partial(DOORS[name], settings=settings, environ=environ)
    return run(main, settings)


def run_hub_of_many(environ: Mapping[str, str], report: int) -> int:
    """One of the processes of `dongne hub --processes N`, which all listen on PORT.

    When it may be asked it writes the port of its own health and metrics, which listens on the
    loopback interface only, to the file descriptor `report`. Its log lines carry its pid.
    """
    settings = Settings.load(environ)
    telemetry.configure(settings)
    raise_descriptors()
    structlog.contextvars.bind_contextvars(pid=os.getpid())
    return run(partial(open_hub_of_many, settings=settings, report=report), settings)


async def open_hub_alone(life: Lifecycle, settings: Settings, environ: object) -> None:
    door, vitals = await hub_door(life, settings)
    await serve_metrics(life, settings, vitals)
    public = health_app(vitals, metrics=None)  # figures are not for whoever reaches PORT
    port = await door.start(settings.web.host, settings.web.port, public)
    settle(life, door)
    pause_before_stop(life, settings)
    echo(f"dongne hub ready on {address(settings, port)}")


async def open_hub_of_many(life: Lifecycle, settings: Settings, report: int) -> None:
    door, vitals = await hub_door(life, settings)
    own = await listen_at(life, "metrics", health_app(vitals), settings, "127.0.0.1", 0)
    shared = health_app(vitals, metrics=None)  # whose figures it would be is chance
    await door.start(settings.web.host, settings.web.port, shared)
    settle(life, door)
    pause_before_stop(life, settings)
    os.write(report, str(own).encode())
    os.close(report)


def settle(life: Lifecycle, door: Door) -> None:
    """What a process with many sockets does once, when everything of it is loaded."""
    freeze_start()
    life.spawn("loop lag", watch_lag(door.node.server.eio.counters))


async def hub_door(life: Lifecycle, settings: Settings) -> tuple[Door, Vitals]:
    domain = await open_domain(life, settings)
    door = await open_hub(life, settings, domain)
    return door, Vitals(door.needed, door.reported, leaving=life.stopping.is_set)


async def open_api_alone(life: Lifecycle, settings: Settings, environ: object) -> None:
    domain = await open_domain(life, settings)
    database, redis = checks(domain)
    vitals = Vitals(database, redis, leaving=life.stopping.is_set)
    await serve_metrics(life, settings, vitals)
    port = await listen(
        life, "api", api_app(domain, settings, vitals), settings, settings.web.api_port
    )
    pause_before_stop(life, settings)
    echo(f"dongne api ready on {plain_address(settings, port)}")


async def open_worker_alone(
    life: Lifecycle, settings: Settings, environ: object, pace: Pace | None = None
) -> None:
    domain = await open_domain(life, settings)
    providers = await open_providers(life, settings.channels)
    await run_worker(life, settings, domain, providers, pace or Pace())
    database, redis = checks(domain)
    port = await serve_metrics(
        life, settings, Vitals({**database, **redis}, leaving=life.stopping.is_set)
    )
    echo(f"dongne worker ready on {plain_address(settings, port)}")


async def open_all(life: Lifecycle, settings: Settings, environ: Mapping[str, str]) -> None:
    """All three doors in one process, on the given stores or on our own."""
    found = await embedded_stores(life, settings)
    directory = settings.process.embedded_dir
    secrets = development_secrets(directory) if settings.environment == "development" else {}
    caught = await local_catcher(life, settings)
    own = {"PORT": str(settings.web.port or free_port())}
    names = providers(caught, address(settings, int(own["PORT"])))
    settings = Settings.load({**secrets, **found, **names, **environ, **own})
    telemetry.configure(settings)
    await migrate_database(settings.database)
    domain = await open_domain(life, settings)
    await run_worker(life, settings, domain, await open_providers(life, settings.channels))
    door = await open_hub(life, settings, domain)
    database, redis = checks(domain)
    vitals = Vitals({**database, **redis, **door.needed}, leaving=life.stopping.is_set)
    api = api_app(domain, settings, vitals)
    await serve_metrics(life, settings, vitals)
    await listen(life, "api", api, settings, settings.web.api_port)
    app = api_app(domain, settings, vitals, with_metrics=True)
    if settings.process.console_enabled:
        mount(app, domain, caught.http_url if caught else None)
    port = await door.start(settings.web.host, settings.web.port, app)
    settle(life, door)
    url = address(settings, port)
    if caught:
        caught.allow(url)
    if settings.environment == "development":
        await write_credentials(domain, directory, url, redis_url(settings), caught)
    echo(f"dongne up ready on {url}")


PHASES: Final[dict[str, Phase | None]] = {"": None, "before": "before", "after": "after"}

DOORS: Final = {
    "hub": open_hub_alone,
    "api": open_api_alone,
    "worker": open_worker_alone,
    "up": open_all,
}


def pause_before_stop(life: Lifecycle, settings: Settings) -> None:
    """C10: first not ready, then, when no proxy sends anybody any more, no longer accepting."""
    life.on_stop("last of the proxies", partial(asyncio.sleep, settings.process.drain_pause_s))


def checks(domain: Domain) -> tuple[dict[str, Check], dict[str, Check]]:
    """Whether Postgres answers, and whether Redis takes writes."""
    return (
        {"database": lambda: domain.pool.fetchval("SELECT 1", timeout=2)},
        {"redis": partial(redis_client.probe, domain.redis, domain.keys.probe)},
    )


def api_app(
    domain: Domain, settings: Settings, vitals: Vitals, *, with_metrics: bool = False
) -> web.Application:
    return create_app(
        domain,
        Limits(domain.redis, domain.keys),
        settings.web,
        AccessLog(settings.process.access_log),
        vitals,
        settings.process.app_version,
        with_metrics=with_metrics,
    )


def redis_url(settings: Settings) -> str | None:
    return settings.redis.url.get_secret_value() if settings.redis.url else None


async def migrate_database(part: Database, phase: Phase | None = None) -> list[Migration]:
    """Bring the database to this version."""
    conn = await migrating(part)
    try:
        return await migrate(
            conn, phase=phase, on_step=lambda one: echo(f"migration {one.version:04} {one.name}")
        )
    finally:
        await conn.close()


async def embedded_stores(life: Lifecycle, settings: Settings) -> dict[str, str]:
    """Start what no URL was given for; the variables that name what runs."""
    directory = settings.process.embedded_dir
    found: dict[str, str] = {}
    if settings.database.dsn is None:
        postgres = Postgres(directory / "postgres", on_progress=echo)
        # our own child on the loopback interface: there is nobody between to hide from
        found["DATABASE_URL"] = await postgres.start() + "?sslmode=disable"
        life.on_stop("embedded postgres", postgres.stop)
        life.spawn("embedded postgres", keep(postgres))
    if not settings.given & {"REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS"}:
        valkey = Valkey(directory / "valkey", on_progress=echo)
        found["REDIS_URL"] = await valkey.start()
        life.on_stop("embedded valkey", valkey.stop)
        life.spawn("embedded valkey", keep(valkey))
    return found


async def local_catcher(life: Lifecycle, settings: Settings) -> Catcher | None:
    """In development, where no provider is named: pushes and mails are caught on this machine."""
    given = settings.given & {"SMTP_URL", "FCM_CREDENTIALS_FILE"}
    if settings.environment != "development" or given:
        return None
    origin = address(settings, settings.web.port)
    return await life.enter("catcher", catcher(settings.process.embedded_dir, origin))


def providers(caught: Catcher | None, url: str) -> dict[str, str]:
    """The variables that send pushes and mails to the catcher, with links to the hub at `url`."""
    if caught is None:
        return {}
    return {
        "SMTP_URL": caught.smtp_url,
        "MAIL_FROM": "hub@localhost",
        "PUBLIC_BASE_URL": url,
        "FCM_URL": caught.fcm_url,
        "FCM_CREDENTIALS_FILE": str(caught.fcm_credentials_file),
    }


async def write_credentials(
    domain: Domain, directory: Path, url: str, redis: str | None, caught: Catcher | None
) -> None:
    """Make the key `local` anew and write it where scripts look (mode 0600).

    In development only: it may do everything, and one that was disabled comes back.
    """
    key = await add_service(domain, "local")
    content = {
        "url": url,
        "serviceKey": key,
        "redisUrl": redis,
        "catcherUrl": caught.http_url if caught else None,
    }
    path = directory / CREDENTIALS
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    fresh.replace(path)


async def migrating(part: Database) -> Connection:
    """A session for migrations: they take an advisory lock, which a pooler would lose."""
    assert part.direct_dsn is not None
    return await dial(part.direct_dsn, verify=part.ssl, application_name="dongne-migrate")


async def migration_command(part: Database, what: str, phase: str, steps: int) -> None:
    """`dongne migrate`: prints what it did."""
    if what == "up":
        done = await migrate_database(part, PHASES[phase])
        echo(f"{len(done)} applied" if done else "nothing to do")
        return
    conn = await migrating(part)
    try:
        if what == "down":
            for one in await rollback(conn, steps):
                echo(f"taken back: {one.version:04} {one.name}")
        echo(f"version {await version(conn)} of {latest()}")
    finally:
        await conn.close()


async def key_command(
    settings: Settings, client: str, scopes: list[str], prefixes: list[str], types: list[str]
) -> str:
    """`dongne key`: the new key of a service. Raises ValueError for an unknown scope."""
    unknown = set(scopes) - set(ALL_SCOPES)
    if unknown:
        raise ValueError(f"unknown scope: {', '.join(sorted(unknown))}")
    life = Lifecycle()
    try:
        domain = await open_domain(life, settings)
        return await add_service(
            domain,
            client,
            scopes=tuple(scopes),
            room_prefixes=tuple(prefixes),
            event_types=tuple(types),
        )
    finally:
        await life.close()
