"""Whether what a worker stands on can be reached: a gauge each, and an alert when that changes.

Every worker looks for itself, for its own figures; of all of them the one that says so first tells
of an outage, and of its end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

import aiohttp
from redis.exceptions import RedisError

from hub.domain.context import Domain
from hub.plumbing.http.outbound import Outbound
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores import redis_client
from hub.plumbing.telemetry.metrics import DEPENDENCY_UP
from protocol.payload import iso
from workers.alerts import Webhook
from workers.channels.provider import Provider, Providers

EVERY_S: Final = 30.0
HELD_S: Final = 90
"""How long a worker that died keeps the others from telling of an outage it told of."""

PROVIDER_S: Final = 5.0


class ProviderAway(Exception):
    """Its breaker is open: the sends themselves have found that it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """`check` raises when it cannot be reached; longer than `within_s` counts as that."""

    check: Callable[[], Awaitable[object]]
    within_s: float


def dependencies(d: Domain, providers: Providers) -> dict[str, Dependency]:
    return {
        "database": Dependency(lambda: d.pool.fetchval("SELECT 1", timeout=10), 10.0),
        "redis": Dependency(partial(redis_client.probe, d.redis, d.keys.probe), 3.0),
        **{one.row.name: Dependency(partial(_ask, one), PROVIDER_S) for one in providers},
    }


async def _ask(provider: Provider) -> None:
    if provider.breaker.blocked_s():
        raise ProviderAway


Tell = Callable[[Mapping[str, str]], Awaitable[object]]


class Monitor:
    """Looks when it is told to; `tell` is given what changed, None where nobody is to be told."""

    def __init__(self, d: Domain, found: Mapping[str, Dependency], tell: Tell | None) -> None:
        self._domain = d
        self._found = found
        self._tell = tell
        self._up = dict.fromkeys(found, True)
        self._told: dict[str, str] = {}

    async def look(self) -> dict[str, bool]:
        """Ask all at once; which can be reached."""
        ups = await asyncio.gather(*(_reached(one) for one in self._found.values()))
        now = dict(zip(self._found, ups, strict=True))
        for name, up in now.items():
            DEPENDENCY_UP.labels(dependency=name).set(up)
        await asyncio.gather(*(self._changed(name, up) for name, up in now.items()))
        self._up = now
        return now

    async def _changed(self, name: str, up: bool) -> None:
        if self._tell is None:
            return
        if not up and self._up[name] and await self._is_first(name):
            self._told[name] = str(uuid4())
            await self._tell(self._fact(name, "down"))
        elif not up and name in self._told:
            await self._hold(name)
        elif up and name in self._told:
            await self._tell(self._fact(name, "up"))
            del self._told[name]
            await self._let_go(name)

    def _fact(self, name: str, state: str) -> dict[str, str]:
        """`id` is the outage's: the same when it begins and when it is over."""
        at = iso(self._domain.now())
        return {"id": self._told[name], "dependency": name, "state": state, "at": at}

    async def _is_first(self, name: str) -> bool:
        """Without Redis everybody is: told twice is better than not."""
        key = self._domain.keys.alert(name)
        try:
            return bool(await self._domain.redis.set(key, "down", nx=True, ex=HELD_S))
        except (*redis_client.AWAY, RedisError):
            return True

    async def _hold(self, name: str) -> None:
        try:
            await self._domain.redis.set(self._domain.keys.alert(name), "down", ex=HELD_S)
        except (*redis_client.AWAY, RedisError):
            return

    async def _let_go(self, name: str) -> None:
        try:
            await self._domain.redis.delete(self._domain.keys.alert(name))
        except (*redis_client.AWAY, RedisError):
            return


async def _reached(one: Dependency) -> bool:
    try:
        async with asyncio.timeout(one.within_s):
            await one.check()
    except Exception:  # whatever it is, it cannot be used
        return False
    return True


async def open_monitor(
    life: Lifecycle, settings: Settings, d: Domain, providers: Providers
) -> Monitor:
    """With ALERT_WEBHOOK_URL changes are told there; private addresses are refused."""
    part, tell = settings.channels, None
    if part.alert_webhook_url is not None and part.alert_webhook_secret is not None:
        connector = Outbound(part.outbound_allow).connector()
        session = await life.enter("alerts", aiohttp.ClientSession(connector=connector))
        secret = part.alert_webhook_secret.get_secret_value()
        tell = Webhook(session, part.alert_webhook_url, secret, settings.jobs, d.clock).tell
    return Monitor(d, dependencies(d, providers), tell)


async def watch(monitor: Monitor, every_s: float = EVERY_S) -> None:
    """Until cancelled."""
    while True:
        await monitor.look()
        await asyncio.sleep(every_s)
