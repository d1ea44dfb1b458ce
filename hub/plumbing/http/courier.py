"""Reports on their way to a service outside that the hub does not depend on.

They wait in memory, so many at most; a task of the loop posts them. What the service does not take
in time is dropped and counted: nothing that watches the hub may slow it down.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

import aiohttp
import structlog

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.waiting import backoff_s
from hub.plumbing.telemetry.metrics import REPORTS

T = TypeVar("T")

WAITING: Final = 2048
TOGETHER_S: Final = 0.5
"""How long the first report waits for others to go with it."""

ANSWER_S: Final = 10.0
FIRST_S, LONGEST_S = 0.5, 30.0
AT_THE_END_S: Final = 2.0

AGAIN: Final = frozenset({408, 429, 502, 503, 504})
"""OTLP 1.9, "Failures": these may be tried again; any other refusal is for good."""

log = structlog.get_logger(__name__)


class Courier(Generic[T]):
    """`pack` makes the body of one call of up to `batch` reports. `kind` names them in metrics and
    in the log; url and headers may hold secrets and stand in neither.
    """

    def __init__(
        self,
        kind: str,
        session: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str],
        pack: Callable[[Sequence[T]], bytes],
        batch: int,
    ) -> None:
        self._kind = kind
        self._session = session
        self._url = url
        self._headers = headers
        self._pack = pack
        self._batch = batch
        self._waiting: deque[T] = deque()
        self._some = asyncio.Event()
        self._away = Lasting(log, "reports are not taken", "reports are taken again")

    def put(self, report: T) -> None:
        """From the loop's thread. Never waits and never raises."""
        if len(self._waiting) >= WAITING:
            self._count("dropped", 1)
            return
        self._waiting.append(report)
        self._some.set()

    async def run(self) -> None:
        failures = 0
        while True:
            await self._some.wait()
            await asyncio.sleep(TOGETHER_S)
            while self._waiting:
                if await self._post():
                    failures = 0
                    continue
                failures += 1
                await asyncio.sleep(backoff_s(failures, FIRST_S, LONGEST_S))
            self._some.clear()

    async def close(self) -> None:
        """Once more for what waits, and no longer than AT_THE_END_S."""
        try:
            async with asyncio.timeout(AT_THE_END_S):
                while self._waiting and await self._post():
                    pass
        except TimeoutError:
            pass
        self._count("dropped", len(self._waiting))
        self._waiting.clear()

    async def _post(self) -> bool:
        """One call. False when it should be tried again: its reports wait on."""
        batch = list(islice(self._waiting, self._batch))
        try:
            async with self._session.post(
                self._url,
                data=self._pack(batch),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                allow_redirects=False,
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._away.seen(reports=self._kind, why=type(error).__name__)
            return False
        if status in AGAIN:
            self._away.seen(reports=self._kind, why=str(status))
            return False
        for _ in batch:
            self._waiting.popleft()
        if status < 300:
            self._away.over(reports=self._kind)
        self._count("sent" if status < 300 else "refused", len(batch))
        return True

    def _count(self, outcome: str, reports: int) -> None:
        REPORTS.labels(kind=self._kind, outcome=outcome).inc(reports)
