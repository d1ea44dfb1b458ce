"""Two hubs, two apis and two workers on the same stores, as processes of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.domain.context import Domain
from hub.domain.people.sessions import add_service
from tests.client import Person, Rest, rest
from tests.stories.processes import Door, environment

KINDS: Final = ("hub", "api", "worker")


@dataclass
class Fleet:
    """`domain` and `line` are for looking at what the processes left; `services` is one caller of
    each api, with the same key."""

    hubs: list[Door]
    apis: list[Door]
    workers: list[Door]
    domain: Domain
    line: Line
    services: list[Rest] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)

    async def come(self, hub: Door, token: str, **auth: object) -> Person:
        person = Person(hub.url, token, **auth)
        self.people.append(person)
        await person.connect()
        return person


@asynccontextmanager
async def open_fleet(
    domain: Domain,
    database_url: str,
    redis_url: str,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    kinds: tuple[str, ...] = KINDS,
    worker: Callable[[], object] | None = None,
) -> AsyncIterator[Fleet]:
    """Two of each of `kinds`, with `settings` beside those of every process. `worker` is what runs
    instead of `dongne worker`."""
    own = {
        "LOG_LEVEL": "warn",
        "SHUTDOWN_TIMEOUT": "4000",
        "SHUTDOWN_DRAIN_MS": "0",
        "DB_POOL_MIN": "1",
        **(settings or {}),
    }
    env = environment(database_url, redis_url, **own)
    found = {
        kind: [
            Door(kind, env, folder / f"{kind}{n}.log", work=worker if kind == "worker" else None)
            for n in (1, 2)
            if kind in kinds
        ]
        for kind in KINDS
    }
    every = [door for of_kind in found.values() for door in of_kind]
    async with AsyncExitStack() as exits:
        line = Line(Server.of(redis_url), "fleet")
        exits.push_async_callback(line.close)
        exits.push_async_callback(_end, *every)
        async with asyncio.TaskGroup() as group:
            for door in every:
                group.create_task(door.start())
        fleet = Fleet(found["hub"], found["api"], found["worker"], domain, line)
        key = await add_service(domain, "story")
        for api in fleet.apis:
            fleet.services.append(await exits.enter_async_context(rest(api.url, key)))
        yield fleet
        for person in fleet.people:
            await person.close()


async def _end(*doors: Door) -> None:
    await asyncio.gather(*(door.stop() for door in doors if door.alive))
