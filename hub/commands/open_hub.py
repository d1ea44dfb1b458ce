"""Opens the door by socket, alone or as one process of many."""

import os

from typer import echo

from api.health import Vitals
from hub.commands.ports import address, health_app, listen_at, pause_before_stop, serve_metrics
from hub.domain.assembly import open_domain
from hub.engine import freeze_start, watch_lag
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import schema_of
from hub.sockets.assembly import Door, open_hub


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
    life.spawn("loop lag", watch_lag(door.node.server.book.counters))


async def hub_door(life: Lifecycle, settings: Settings) -> tuple[Door, Vitals]:
    domain = await open_domain(life, settings, patient=True)
    door = await open_hub(life, settings, domain)
    schema = schema_of(domain.pool)
    return door, Vitals(door.needed, door.reported, schema, leaving=life.stopping.is_set)
