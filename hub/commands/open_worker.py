"""Opens the door by job."""

from typer import echo

from api.health import Vitals
from hub.commands.ports import checks, plain_address, serve_metrics
from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from workers.providers import open_senders
from workers.runner import run_worker


async def open_worker_alone(life: Lifecycle, settings: Settings, environ: object) -> None:
    domain = await open_domain(life, settings)
    await run_worker(life, settings, domain, await open_senders(life, settings.channels))
    database, redis = checks(domain)
    port = await serve_metrics(
        life, settings, Vitals({**database, **redis}, leaving=life.stopping.is_set)
    )
    echo(f"dongne worker ready on {plain_address(settings, port)}")
