"""What a process with many sockets does once: the collector's settings, and the loop's lateness."""

from __future__ import annotations

import asyncio
import gc

from hub.engine.session.telemetry import Counters

THRESHOLD = (50_000, 20, 100)
"""Objects of a session live as long as it does, so that looking through them often is waste: with
the default (700, 10, 10) opening 10,000 sessions costs a tenth more CPU (measured)."""

INTERVAL = 0.5


def freeze_start() -> None:
    """Call this when everything is loaded: what is there now is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)


async def watch_lag(counters: Counters) -> None:
    """Keep `counters.loop_lag` (s), the lateness of a timer, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL
        await asyncio.sleep(INTERVAL)
        counters.loop_lag = max(0.0, loop.time() - due)
