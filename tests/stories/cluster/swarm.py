"""One node process full of stock JavaScript clients (tests/node/swarm.mjs)."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.stories.cluster.clients import EVENT
from tests.stories.cluster.ledger import Mark

MOST = 1000
"""Stock clients in one node process."""

SETTLE_S = 30.0
PROGRAM = Path(__file__).parents[2] / "node" / "swarm.mjs"


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    token: str
    questions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What one stock client got. `gaps` and `waits` in s; `lies` counts where `ready.recovered`
    and the client's own `socket.recovered` differed.
    """

    name: str
    heard: list[int | Mark]
    gaps: list[float]
    waits: list[float]
    lies: int
    connected: bool
    refusal: Any


class Swarm:
    def __init__(self, process: asyncio.subprocess.Process, size: int) -> None:
        self._process = process
        self._size = size

    @classmethod
    async def start(
        cls, url: str, people: Sequence[Person], *, apart_ms: int = 2, **options: Any
    ) -> "Swarm":
        """Returns when all of them are in their rooms. `options` are socket.io-client's."""
        node = shutil.which("node")
        if node is None or not (PROGRAM.parent / "node_modules").is_dir():
            pytest.skip("no node, or tests/node is not set up (make test does)")
        process = await asyncio.create_subprocess_exec(
            node,
            str(PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**26,
        )
        swarm = cls(process, len(people))
        clients = [
            {"name": one.name, "token": one.token, "questions": one.questions} for one in people
        ]
        swarm._say(
            {
                "url": url,
                "clients": clients,
                "event": EVENT,
                "options": options,
                "apartMs": apart_ms,
            }
        )
        async with asyncio.timeout(30 + len(people) / 50):
            for _ in people:
                assert "ready" in await swarm._line()
        return swarm

    def _say(self, order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _line(self) -> Any:
        assert self._process.stdout is not None
        raw = await self._process.stdout.readline()
        assert raw, "the swarm ended"
        return json.loads(raw)

    def drop(self) -> None:
        """Every connection breaks without a word."""
        self._say({"do": "drop"})

    async def report(self) -> list[Report]:
        self._say({"do": "report"})
        found = []
        async with asyncio.timeout(30):
            while "end" not in (line := await self._line()):
                line["heard"] = [n if isinstance(n, int) else Mark(n) for n in line["heard"]]
                line["gaps"] = [one / 1000 for one in line["gaps"]]
                line["waits"] = [one / 1000 for one in line["waits"]]
                found.append(Report(**{"refusal": None, **line}))
        assert len(found) == self._size
        return found

    @property
    def pid(self) -> int:
        return self._process.pid

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(10):
            await self._process.wait()


@asynccontextmanager
async def crowd(url: str, people: Sequence[Person], **options: Any) -> AsyncIterator[list[Swarm]]:
    """All of them in their rooms, so many in one node process as it bears."""
    swarms: list[Swarm] = []
    try:
        for start in range(0, len(people), MOST):
            swarms.append(
                await Swarm.start(url, people[start : start + MOST], apart_ms=4, **options)
            )
        yield swarms
    finally:
        await asyncio.gather(*(swarm.stop() for swarm in swarms))


async def all_heard(swarms: Sequence[Swarm], expected: Mapping[str, list[int]]) -> list[Report]:
    """What everybody heard, once the last event of theirs is there, or the time is up: the audit
    tells."""
    until = monotonic() + SETTLE_S
    while True:
        reports = [report for swarm in swarms for report in await swarm.report()]
        there = all(not expected[r.name] or expected[r.name][-1] in r.heard for r in reports)
        if there or monotonic() > until:
            return reports
        await asyncio.sleep(1)
