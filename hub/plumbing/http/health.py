"""Health: alive, ready, started (C07–C09), the same bodies at every door.

Readiness asks what the door cannot work without; everything else (the other store, providers) is
reported and never takes the door out of service.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from hub.plumbing.life.lasting import Lasting
from protocol.payload import iso

Check = Callable[[], Awaitable[object]]
"""Returns when the dependency works; raises when it does not."""

HOLD_S = 1.0
"""How long readiness is what it was found to be: anybody may ask, and each look is a query."""

TIMEOUT_S = 2.5
"""S2-103: the whole answer within 3000 ms."""

LIVE_PATHS = ("/api/v1/health/live", "/health/live", "/health", "/healthz")
READY_PATHS = ("/api/v1/health/ready", "/health/ready", "/ready")
STARTUP_PATHS = ("/api/v1/health/startup", "/health/startup")

log = structlog.get_logger(__name__)

_down: dict[str, Lasting] = {}
"""By dependency, of this process: whoever asks for readiness asks each few seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """`checks` by dependency; `needed` decides; `latencies_ms` of those that answered."""

    checks: Mapping[str, bool]
    needed: frozenset[str]
    latencies_ms: Mapping[str, float] = field(default_factory=dict)
    going_away: bool = False

    @property
    def ready(self) -> bool:
        return not self.going_away and all(self.checks[name] for name in self.needed)


async def examine(
    needed: Mapping[str, Check],
    reported: Mapping[str, Check] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Health:
    """Run all checks at once; one that raises or takes longer than `timeout_s` counts as down."""
    checks = {**(reported or {}), **needed}
    took = await asyncio.gather(
        *(_latency_ms(name, check, timeout_s) for name, check in checks.items())
    )
    found = dict(zip(checks, took, strict=True))
    return Health(
        checks={name: ms is not None for name, ms in found.items()},
        needed=frozenset(needed),
        latencies_ms={name: ms for name, ms in found.items() if ms is not None},
    )


def held(look: Callable[[], Awaitable[Health]]) -> Callable[[], Awaitable[Health]]:
    """`look`, at most once in HOLD_S and once at a time, however many ask."""
    looking: asyncio.Future[Health] | None = None
    until = 0.0

    async def latest() -> Health:
        nonlocal looking, until
        if looking is None or (looking.done() and time.monotonic() >= until):
            looking = asyncio.ensure_future(look())
            looking.add_done_callback(hold)
        return await asyncio.shield(looking)

    def hold(_: object) -> None:
        nonlocal until
        until = time.monotonic() + HOLD_S

    return latest


async def _latency_ms(name: str, check: Check, timeout_s: float) -> float | None:
    down = _down.get(name)
    if down is None:
        down = _down[name] = Lasting(log, "a dependency is down", "a dependency is up again")
    start = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            await check()
    except Exception as error:
        down.seen(dependency=name, kind=type(error).__name__)
        return None
    down.over(dependency=name)
    return round((time.perf_counter() - start) * 1000, 1)


def ready_body(health: Health, now: datetime) -> tuple[int, dict[str, Any]]:
    """Status and body of readiness (C08): a client of either source finds its fields."""
    info = {
        name: {"status": "up", "latencyMs": health.latencies_ms.get(name)}
        if up
        else {"status": "down"}
        for name, up in health.checks.items()
    }
    body: dict[str, Any] = {
        "status": "ok" if health.ready else "not ready",
        "ready": health.ready,
        "timestamp": iso(now),
        "checks": dict(health.checks),
        "info": info,
    }
    if health.ready:
        return 200, body
    down = sorted(name for name in health.needed if not health.checks[name])
    body["error"] = "shutting down" if health.going_away else f"down: {', '.join(down)}"
    return 503, body


def live_body(now: datetime) -> tuple[int, dict[str, Any]]:
    """S1-27, S5-17: the process runs; no dependency is touched."""
    return 200, {"status": "ok", "timestamp": iso(now)}


def startup_body(initialized: bool) -> tuple[int, dict[str, Any]]:
    """S1-29: 503 until migrations are there and the node is subscribed."""
    if initialized:
        return 200, {"status": "started", "initialized": True}
    return 503, {"status": "starting", "initialized": False}
