"""`dongne requeue`: what is held, and putting it back."""

from uuid import UUID

from typer import echo

from hub.domain import queues
from hub.domain.assembly import connect_domain
from hub.domain.context import Domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.errors import HubError


async def requeue_command(settings: Settings, what: str, id: str, queue: str | None) -> int:
    """The exit code; what is wrong stands on stderr."""
    life = Lifecycle()
    try:
        domain = await connect_domain(life, settings)
        if what == "list":
            await _list(domain, queue)
        elif what == "job":
            echo(f"{await queues.requeue_job(domain, int(id), queue)} {id} is queued again")
        else:
            await queues.requeue_event(domain, UUID(id))
            echo(f"event {id} is queued again")
    except (HubError, LookupError) as error:
        echo(str(error), err=True)
        return 1
    except ValueError:
        echo(f"{id} is no {'number' if what == 'job' else 'UUID'}", err=True)
        return 1
    finally:
        await life.close()
    return 0


async def _list(d: Domain, queue: str | None) -> None:
    """All held jobs, a page after the other, in order of their numbers."""
    after = 0
    while page := await queues.dead_letters(d, queue, after=after):
        for one in page:
            held = one.held_at.isoformat(timespec="seconds")
            echo(f"{one.id:>10}  {one.job:<20} {held}  {one.tries} tries  {one.error or '-'}")
        after = page[-1].id
