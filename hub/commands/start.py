"""Starts one door, or all three, each with the imports of its own: half of all are other doors'.

What is started in which order stands in the module of each: open_hub, open_api, open_worker,
open_up; the stop is the reverse (C10). Each prints one line when it may be asked: `dongne NAME
ready on URL`. Several processes of the hub are started by hub.commands.processes.
"""

import os
from collections.abc import Awaitable, Callable, Mapping

from hub import without

with without("rich"):
    import structlog

from hub.plumbing.http.connections import raise_descriptors
from hub.plumbing.http.reporting import open_reporting
from hub.plumbing.life.lifecycle import Lifecycle, run
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.logs import configure

Open = Callable[[Lifecycle, Settings, Mapping[str, str]], Awaitable[None]]


def run_door(name: str, environ: Mapping[str, str]) -> int:
    """Run `hub`, `api`, `worker` or `up` until it is told to stop; the exit code.

    Raises SettingsError before anything is started.
    """
    settings = Settings.load(environ, complete=name != "up")
    configure(settings)
    raise_descriptors()
    opening = door(name)

    async def main(life: Lifecycle) -> None:
        await open_reporting(life, settings, name)
        await opening(life, settings, environ)

    return run(main, settings)


def door(name: str) -> Open:
    """What opens it. Raises LookupError for another name."""
    if name == "hub":
        from hub.commands.open_hub import open_hub_alone

        return open_hub_alone
    if name == "api":
        from hub.commands.open_api import open_api_alone

        return open_api_alone
    if name == "worker":
        from hub.commands.open_worker import open_worker_alone

        return open_worker_alone
    if name == "up":
        from hub.commands.open_up import open_all

        return open_all
    raise LookupError(name)


def run_hub_of_many(environ: Mapping[str, str], report: int) -> int:
    """One of the processes of `dongne hub --processes N`, which all listen on PORT.

    When it may be asked it writes the port of its own health and metrics, which listens on the
    loopback interface only, to the file descriptor `report`. Its log lines carry its pid.
    """
    from hub.commands.open_hub import open_hub_of_many

    settings = Settings.load(environ)
    configure(settings)
    raise_descriptors()
    structlog.contextvars.bind_contextvars(pid=os.getpid())

    async def main(life: Lifecycle) -> None:
        await open_reporting(life, settings, "hub")
        await open_hub_of_many(life, settings, report)

    return run(main, settings)
