"""Opens all three doors in one process, with stores of its own where none is given."""

from collections.abc import Mapping

from typer import echo

from api.health import Vitals
from hub.commands import credentials
from hub.commands.open_api import api_app
from hub.commands.open_hub import settle
from hub.commands.operate import migrate_database
from hub.commands.ports import address, checks, listen, serve_metrics
from hub.console.catcher import Catcher, catcher
from hub.console.page import mount
from hub.domain.assembly import open_domain
from hub.domain.people.sessions import add_service
from hub.embedded import Postgres, Valkey, keep
from hub.embedded.supervisor import free_port
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings, development_secrets
from hub.plumbing.telemetry.logs import configure
from hub.sockets.assembly import open_hub
from workers.channels.provider import open_providers
from workers.runner import run_worker


async def open_all(life: Lifecycle, settings: Settings, environ: Mapping[str, str]) -> None:
    """All three doors in one process, on the given stores or on our own."""
    found = await embedded_stores(life, settings)
    directory = settings.process.embedded_dir
    secrets = development_secrets(directory) if settings.environment == "development" else {}
    caught = await local_catcher(life, settings)
    own = {"PORT": str(settings.web.port or free_port())}
    names = providers(caught, address(settings, int(own["PORT"])))
    settings = Settings.load({**secrets, **found, **names, **environ, **own})
    configure(settings)
    await migrate_database(settings.database)
    domain = await open_domain(life, settings)
    await run_worker(life, settings, domain, await open_providers(life, settings.channels))
    door = await open_hub(life, settings, domain)
    database, redis = checks(domain)
    vitals = Vitals({**database, **redis, **door.needed}, leaving=life.stopping.is_set)
    api = api_app(life, domain, settings, vitals)
    await serve_metrics(life, settings, vitals)
    await listen(life, "api", api, settings, settings.web.api_port)
    app = api_app(life, domain, settings, vitals, with_metrics=True)
    if settings.process.console_enabled:
        mount(app, domain, caught.http_url if caught else None)
    port = await door.start(settings.web.host, settings.web.port, app)
    settle(life, door)
    url = address(settings, port)
    if caught:
        caught.allow(url)
    if settings.environment == "development":
        key = await add_service(domain, "local")  # made anew: one that was disabled comes back
        catcher_url = caught.http_url if caught else None
        credentials.write(directory, url, key, redis_url(settings), catcher_url)
    echo(f"dongne up ready on {url}")


def redis_url(settings: Settings) -> str | None:
    return settings.redis.url.get_secret_value() if settings.redis.url else None


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
