"""Opens the door by job."""

from typer import echo

from api.health import Vitals
from hub.commands.ports import checks, plain_address, serve_metrics
from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import schema_of
from workers.channels.provider import open_providers
from workers.runner import Pace, run_worker


async def open_worker_alone(
    life: Lifecycle, settings: Settings, environ: object, pace: Pace | None = None
) -> None:
    """`pace`: how soon it notices that another worker died; by default as `Pace` says."""
    domain = await open_domain(life, settings)
    providers = await open_providers(life, settings.channels)
    await run_worker(life, settings, domain, providers, pace or Pace())
    database, redis = checks(domain)
    schema = schema_of(domain.pool)
    vitals = Vitals({**database, **redis}, started=schema, leaving=life.stopping.is_set)
    port = await serve_metrics(life, settings, vitals)
    echo(f"dongne worker ready on {plain_address(settings, port)}")
