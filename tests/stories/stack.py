"""The whole product as an operator runs it: hub, api and worker as processes, providers beside."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hub.domain.context import Domain
from hub.domain.people.sessions import add_service
from tests.client import Person, Rest, rest
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.stories.processes import Door, environment
from tests.stories.proxy import FaultProxy

TIMERS = {
    "UNSEEN_PUSH_URGENT": "2",
    "UNSEEN_EMAIL_URGENT": "4",
    "UNSEEN_PUSH": "2",
    "UNSEEN_EMAIL": "4",
}
"""s; the real ones are 30, 240, 60 and 600."""


@dataclass
class Stack:
    """Everything of one installation; `redis` stands between the api and its Redis. `env`: what
    another process of it is given.
    """

    hub: Door
    api: Door
    worker: Door
    redis: FaultProxy
    fcm: FakeFcm
    smtp: FakeSmtp
    domain: Domain
    folder: Path
    env: Mapping[str, str]
    service: Rest = field(init=False)
    people: list[Person] = field(default_factory=list)

    async def person(self, caller: Rest, **auth: object) -> Person:
        """That caller's live socket."""
        person = Person(self.hub.url, caller.bearer, **auth)
        self.people.append(person)
        await person.connect()
        return person


@asynccontextmanager
async def open_stack(
    domain: Domain,
    database_url: str,
    redis_url: str,
    folder: Path,
    settings: Mapping[str, str] = TIMERS,
    worker: Callable[[], object] | None = None,
) -> AsyncIterator[Stack]:
    """Start it all on these stores; `domain` is for looking into them. `worker` is what runs
    instead of `dongne worker`.
    """
    async with AsyncExitStack() as exits:
        fcm = await exits.enter_async_context(FakeFcm(folder))
        smtp = await exits.enter_async_context(FakeSmtp())
        proxy = FaultProxy(redis_url)
        own = {
            "SHUTDOWN_TIMEOUT": "8000",
            "SHUTDOWN_DRAIN_MS": "0",
            "FCM_CREDENTIALS_FILE": str(fcm.credentials_file),
            "FCM_URL": fcm.url,
            "SMTP_URL": smtp.url,
            "MAIL_FROM": "hub@example.org",
            "PUBLIC_BASE_URL": "http://localhost:3001",
            "OUTBOUND_ALLOW": "127.0.0.1",
            **settings,
        }
        env = environment(database_url, redis_url, **own)
        through_proxy = {**env, "REDIS_URL": await proxy.start()}
        exits.push_async_callback(proxy.stop)
        stack = Stack(
            hub=Door("hub", env, folder / "hub.log"),
            api=Door("api", through_proxy, folder / "api.log"),
            worker=Door("worker", env, folder / "worker.log", work=worker),
            redis=proxy,
            fcm=fcm,
            smtp=smtp,
            domain=domain,
            folder=folder,
            env=env,
        )
        exits.push_async_callback(_end, stack.hub, stack.api, stack.worker)
        async with asyncio.TaskGroup() as group:
            for door in (stack.hub, stack.api, stack.worker):
                group.create_task(door.start())
        key = await add_service(domain, "story")
        stack.service = await exits.enter_async_context(rest(stack.api.url, key))
        yield stack
        for person in stack.people:
            await person.close()


async def _end(*doors: Door) -> None:
    await asyncio.gather(*(door.stop() for door in doors if door.alive))
