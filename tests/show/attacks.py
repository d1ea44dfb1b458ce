"""A hub under attack, as its users see it: a probe's acknowledgement, a stranger's connect, the
memory of the process and its log."""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp
import orjson

from protocol.tokens import TokenKeys, sign_access
from tests.show import Verdict
from tests.show.attackers import ATTACKS
from tests.stories.latency import percentile
from tests.stories.processes import Door, doors

SECRETS: Final = {"JWT_SECRET": "j" * 40, "LINK_SECRET": "l" * 40}
ACK_MS: Final = 50.0
CONNECT_MS: Final = 200.0
GROWTH_MIB: Final = 32.0
BACK_S: Final = 60.0
SECONDS: Final = 5.0
PROBES: Final = 10
"""People whose acknowledgements are timed in turn: each stays within its own limit."""


@dataclass
class Seen:
    """Times in ms; memory of the hub's process in MiB: before, at most, and at the end."""

    acks: list[float] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def faults_of(self, ack_ms: float = ACK_MS, connect_ms: float = CONNECT_MS) -> list[str]:
        found = list(self.faults)
        if percentile(self.acks, 0.99) > ack_ms:
            found.append("slow acknowledgements")
        if percentile(self.connects, 0.99) > connect_ms:
            found.append("slow connects")
        if self.rss[-1] - self.rss[0] > GROWTH_MIB:
            found.append("memory stays")
        return found

    def __str__(self) -> str:
        before, most, after = self.rss
        return (
            f"ack p50={percentile(self.acks, 0.5):.1f} p99={percentile(self.acks, 0.99):.1f}ms "
            f"(n={len(self.acks)}) connect p99={percentile(self.connects, 0.99):.0f}ms "
            f"(n={len(self.connects)}) RSS {before:.0f}→{most:.0f}→{after:.0f}MiB"
        )


class Caller:
    """One person on a WebSocket."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    @classmethod
    async def connect(cls, http: aiohttp.ClientSession, url: str, user_id: str) -> "Caller":
        caller = cls(await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket"))
        auth = orjson.dumps({"token": token_of(user_id), "recovery": False}).decode()
        await caller._ws.send_str("40" + auth)
        await caller._until('42["ready"')
        return caller

    async def call(self) -> None:
        await self._ws.send_str('421["inbox:sync",{"limit":1}]')
        await self._until('431[{"ok":true')

    async def _until(self, begin: str) -> None:
        async with asyncio.timeout(10):
            while True:
                text: Any = (await self._ws.receive()).data
                if not isinstance(text, str):
                    raise ConnectionError(f"closed: {text}")
                if text.startswith(begin):
                    return
                if text == "2":
                    await self._ws.send_str("3")

    async def close(self) -> None:
        await self._ws.close()


def token_of(user_id: str) -> str:
    keys = TokenKeys((SECRETS["JWT_SECRET"],), "hub")
    now = datetime.now(UTC)
    return sign_access(keys, user_id, "user", now=now, ttl_s=900, jti=str(uuid4()))


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@asynccontextmanager
async def hub(more: Mapping[str, str]) -> AsyncIterator[Door]:
    """`dongne up` on stores of its own, or on those named."""
    with tempfile.TemporaryDirectory(prefix="dongne-") as folder:
        Path(folder).chmod(0o711)
        env = {
            "APP_ENV": "development",  # makes its own stores
            "HOST": "127.0.0.1",
            "PORT": "0",
            "API_PORT": "0",
            "METRICS_PORT": "0",
            "EMBEDDED_DIR": folder,
            "LOG_FORMAT": "json",
            "SHUTDOWN_TIMEOUT": "5000",
            "SHUTDOWN_DRAIN_MS": "0",
            "LOG_LEVEL": "warn",  # as production has it
            "ACCESS_LOG": "errors",
            "DB_LOG_QUERIES": "false",
            **SECRETS,
            **more,
        }
        door = Door("up", env, Path(folder, "log"))
        async with doors(door):
            yield door


async def attacked(door: Door, name: str, seconds: float, back_s: float = BACK_S) -> Seen:
    """What the others see while one attack goes on, and afterwards."""
    seen = Seen()
    logged = len(door.output())
    async with aiohttp.ClientSession() as http:
        probes = [await Caller.connect(http, door.url, f"probe-{n}") for n in range(PROBES)]
        for probe in probes:
            await probe.call()
        seen.rss = [rss_mib(door.pid)] * 3
        attacker = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.show.attackers", name, door.url, token_of("mallory"), str(seconds)),
        )
        try:
            until = time.monotonic() + seconds
            await asyncio.gather(
                _probe(seen, door, probes, until), _strangers(seen, door, http, until)
            )
        finally:
            with contextlib.suppress(ProcessLookupError):
                attacker.kill()
            await attacker.wait()
        await _memory_back(seen, door, back_s)
        for probe in probes:
            await probe.close()
    seen.faults += _faults(door.output()[logged:])
    return seen


async def _probe(seen: Seen, door: Door, probes: list[Caller], until: float) -> None:
    while time.monotonic() < until:
        for probe in probes:
            start = time.perf_counter()
            await probe.call()
            seen.acks.append((time.perf_counter() - start) * 1000)
            seen.rss[1] = max(seen.rss[1], rss_mib(door.pid))
            await asyncio.sleep(0.02)


async def _strangers(seen: Seen, door: Door, http: aiohttp.ClientSession, until: float) -> None:
    while time.monotonic() < until:
        start = time.perf_counter()
        caller = await Caller.connect(http, door.url, f"stranger-{len(seen.connects)}")
        seen.connects.append((time.perf_counter() - start) * 1000)
        await caller.close()
        await asyncio.sleep(0.05)


async def _memory_back(seen: Seen, door: Door, back_s: float) -> None:
    until = time.monotonic() + back_s
    while True:
        seen.rss[2] = rss_mib(door.pid)
        if seen.rss[2] - seen.rss[0] <= GROWTH_MIB or time.monotonic() > until:
            return
        await asyncio.sleep(0.5)


def _faults(output: str) -> list[str]:
    """Lines that nobody may be able to cause: errors, tracebacks."""
    errors = [line for line in output.splitlines() if '"level":"error"' in line.replace(" ", "")]
    found = [f"error: {line[:200]}" for line in errors[:3]]
    return found + ["a traceback"] * ("Traceback" in output)


async def measure() -> Verdict:
    """Every attack on one hub, one after the other."""
    told, failed = [], []
    async with hub({}) as door:
        for name, (title, _) in ATTACKS.items():
            try:
                seen = await attacked(door, name, SECONDS)
            except (ConnectionError, TimeoutError, aiohttp.ClientError) as error:
                failed.append(f"{name}: {type(error).__name__}")
                continue
            faults = seen.faults_of()
            told.append(f"{name} ({title}): {seen}")
            failed += [f"{name}: {fault}" for fault in faults]
    said = "; ".join(told) + "".join(f" FAILED {one}" for one in failed)
    return Verdict(not failed, said)
