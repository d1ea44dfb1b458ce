"""Starts again what ended unasked: the supervisor's own servers have no other supervisor."""

import asyncio
import time
from typing import Final

import structlog

from hub.embedded.account import EmbeddedError
from hub.embedded.supervisor import Server

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 0.2
TRIES: Final = 8
"""Pauses double from the first: together the tries last half a minute, and what they wait for."""

STEADY_S: Final = 5.0
"""A server that lived so long had started well; what ends sooner counts as a try that failed."""


async def keep(server: Server, first_pause_s: float = FIRST_PAUSE_S) -> None:
    """Start a started server again whenever it ends, at the same address; until cancelled.

    Raises EmbeddedError, with what the server said last, after TRIES ends in a row.
    """
    failures, why = 0, await _end(server)
    while True:
        failures += 1
        if failures >= TRIES:
            raise EmbeddedError(f"{server.title} does not stay: {why}")
        pause_s = first_pause_s * 2 ** (failures - 1)
        log.error("a server of our own ended", server=server.title, why=why, restartAfterS=pause_s)
        await asyncio.sleep(pause_s)
        try:
            await server.restart()
        except (EmbeddedError, OSError) as error:
            why = str(error)
            continue
        log.warning("a server of our own runs again", server=server.title)
        begun = time.monotonic()
        why = await _end(server)
        if time.monotonic() - begun >= STEADY_S:
            failures = 0


async def _end(server: Server) -> str:
    return f"exit code {await server.wait()}"
