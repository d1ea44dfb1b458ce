"""What is opened for whom."""

import asyncio

from hub.domain.assembly import connect_domain, open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings

LASTING = {"cache", "atlas"}


async def test_a_command_runs_nothing_beside_what_it_does(settings: Settings) -> None:
    """A door hears what other processes change; who asks one thing and ends does not."""
    life = Lifecycle()
    await connect_domain(life, settings)
    assert not LASTING & {task.get_name() for task in asyncio.all_tasks()}
    await life.close()
    life = Lifecycle()
    await open_domain(life, settings)
    assert {task.get_name() for task in asyncio.all_tasks()} >= LASTING
    await life.close()
