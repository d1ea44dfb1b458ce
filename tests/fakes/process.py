"""A stand-in provider as a process of its own, so that it outlives a worker that is killed."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import aiohttp

from tests.fakes.script import Fault
from tests.forked import Forked, run_forked


class Provider:
    """Steers a running stand-in. `announced` is the JSON line it printed."""

    def __init__(
        self,
        announced: dict[str, str],
        process: Forked,
        session: aiohttp.ClientSession,
    ) -> None:
        self.announced = announced
        self.url = announced["url"]
        self.process = process
        self._session = session
        self._control = announced.get("control_url", self.url) + "/control"

    async def messages(self, after: int = 0, wait: float = 0) -> list[dict[str, Any]]:
        """What was received after number `after`, waiting up to `wait` seconds for the first."""
        query = {"after": str(after), "wait": str(wait)}
        async with self._session.get(f"{self._control}/messages", params=query) as response:
            found: list[dict[str, Any]] = await response.json()
            return found

    async def arm(self, *faults: Fault) -> None:
        raw = [asdict(fault) for fault in faults]
        async with self._session.post(f"{self._control}/faults", json=raw) as response:
            response.raise_for_status()

    async def wait_held(self, wait: float, count: int = 1) -> None:
        """Until that many conversations stand at a `hold`. Raises when the time is up."""
        query = {"count": str(count), "wait": str(wait)}
        async with self._session.get(f"{self._control}/held", params=query) as response:
            response.raise_for_status()

    async def release(self) -> None:
        async with self._session.post(f"{self._control}/release") as response:
            response.raise_for_status()


@asynccontextmanager
async def provider(main: Callable[[], None], *arguments: str) -> AsyncIterator[Provider]:
    """Runs the `main` of a stand-in with these arguments until the block ends.

    `tests.fakes.fcm` needs `--directory DIR`; `tests.fakes.smtp` needs nothing.
    """
    process = await run_forked(partial(_run, main, arguments), env=os.environ, stderr=2)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            announced = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session:
            yield Provider(announced, process, session)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _run(main: Callable[[], None], arguments: tuple[str, ...]) -> None:
    sys.argv = [main.__module__, *arguments]
    main()
