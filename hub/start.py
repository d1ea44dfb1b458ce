"""Starts one door, or all three: what is started, in what order; the stop is the reverse (C10).

Each door prints one line when it may be asked: `dongne NAME ready on URL`.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from hub.console.catcher import Catcher, catcher
from hub.domain.context import Domain
from hub.domain.opening import open_domain
from hub.domain.sessions import add_service
from hub.plumbing import telemetry
from hub.plumbing.embedded import Postgres, Valkey
from hub.plumbing.lifecycle import Lifecycle, run
from hub.plumbing.migrations import Migration, migrate
from hub.plumbing.settings import Settings, development_secrets

CREDENTIALS: Final = "credentials.json"
"""In EMBEDDED_DIR (0600): where the hub is and a key for it, so that scripts can start at once."""


def say(text: str) -> None:
    print(text, flush=True)


def run_door(name: str, environ: Mapping[str, str]) -> int:
    """Run `hub`, `api`, `worker` or `up` until it is told to stop; the exit code.

    Raises SettingsError before anything is started.
    """
    if name == "up":
        settings = Settings.load(environ, complete=False)
        main = partial(open_all, environ=environ, settings=settings)
    else:
        settings = Settings.load(environ)
        main = partial(DOORS[name], settings=settings)
    telemetry.configure(settings)
    return run(main, settings.process.shutdown_timeout_ms)


async def migrate_database(url: str) -> list[Migration]:
    """Bring the database at `url` to this version."""
    conn = await asyncpg.connect(url)
    try:
        return await migrate(conn, on_step=lambda one: say(f"migration {one.version:04} {one.name}"))
    finally:
        await conn.close()


async def embedded_stores(life: Lifecycle, settings: Settings) -> dict[str, str]:
    """Start what no URL was given for; the variables that name what runs."""
    directory = settings.process.embedded_dir
    found: dict[str, str] = {}
    if settings.database.dsn is None:
        postgres = Postgres(directory / "postgres", on_progress=say)
        found["DATABASE_URL"] = await postgres.start()
        life.on_stop("embedded postgres", postgres.stop)
    if not settings.given & {"REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS"}:
        valkey = Valkey(directory / "valkey", on_progress=say)
        found["REDIS_URL"] = await valkey.start()
        life.on_stop("embedded valkey", valkey.stop)
    return found


async def local_providers(
    life: Lifecycle, settings: Settings, origin: str
) -> tuple[dict[str, str], Catcher | None]:
    """In development, where no provider is named: pushes and mails go to the local catcher."""
    given = settings.given & {"SMTP_URL", "FCM_CREDENTIALS_FILE"}
    if settings.environment != "development" or given:
        return {}, None
    caught = await life.enter("catcher", catcher(settings.process.embedded_dir, origin))
    names = {
        "SMTP_URL": caught.smtp_url,
        "MAIL_FROM": "동네 <hub@localhost>",
        "FCM_URL": caught.fcm_url,
        "FCM_CREDENTIALS_FILE": str(caught.fcm_credentials_file),
    }
    return {name: value for name, value in names.items() if name not in settings.given}, caught


async def write_credentials(
    domain: Domain, directory: Path, url: str, redis_url: str, caught: Catcher | None
) -> None:
    """Make the key `local` anew and write it where scripts look (mode 0600)."""
    key = await add_service(domain, "local")
    content = {
        "url": url,
        "serviceKey": key,
        "redisUrl": redis_url,
        "catcherUrl": caught.http_url if caught else None,
    }
    path = directory / CREDENTIALS
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    fresh.replace(path)
