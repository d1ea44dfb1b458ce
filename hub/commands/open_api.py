"""Opens the door by request."""

from aiohttp import web
from typer import echo

from api.app import create_app
from api.health import Vitals
from api.routes import in_force
from hub.commands.ports import checks, listen, pause_before_stop, plain_address, serve_metrics
from hub.domain.assembly import open_domain, open_limits
from hub.domain.context import Domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import schema_of
from hub.plumbing.telemetry.logs import AccessLog


async def open_api_alone(life: Lifecycle, settings: Settings, environ: object) -> None:
    domain = await open_domain(life, settings)
    database, redis = checks(domain)
    vitals = Vitals(database, redis, schema_of(domain.pool), leaving=life.stopping.is_set)
    await serve_metrics(life, settings, vitals)
    port = await listen(
        life, "api", api_app(life, domain, settings, vitals), settings, settings.web.api_port
    )
    pause_before_stop(life, settings)
    echo(f"dongne api ready on {plain_address(settings, port)}")


def api_app(
    life: Lifecycle,
    domain: Domain,
    settings: Settings,
    vitals: Vitals,
    *,
    with_metrics: bool = False,
) -> web.Application:
    return create_app(
        domain,
        open_limits(life, settings),
        settings.web,
        AccessLog(settings.process.access_log),
        vitals,
        settings.process.app_version,
        table=in_force(qa_api=settings.questions.qa_api_enabled),
        with_metrics=with_metrics,
    )
