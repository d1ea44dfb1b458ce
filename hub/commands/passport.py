"""`dongne bench`: what this hub costs on this machine, measured at the shipped process.

A `dongne hub` with stores of its own, sockets that say as little as they can, and the emitter of
services: figures are CPU and memory of the hub's process, so what the clients cost beside it counts
nothing. How fast the machine is meanwhile does not matter as rates would.
"""

import asyncio
import base64
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

import asyncpg
import msgspec
import orjson
from typer import echo
from websockets.frames import Frame, Opcode

from hub.cluster.emitter import Emitter
from hub.commands.plan import Passport
from hub.embedded import Postgres, Valkey
from hub.plumbing.settings.settings import Settings, new_secret
from hub.plumbing.stores.migrations import migrate
from hub.plumbing.stores.redis_client import connect
from protocol.tokens import TokenKeys, sign_access

ROOM: Final = "neighbourhood:aewol"
EVENT: Final = "room:broadcast"
PACE_S: Final = 0.02
"""Between two events: each is a delivery of its own at each socket, and none waits."""

AT_ONCE: Final = 50
"""Connections under way together."""

PATIENCE_S: Final = 60.0
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
FAR: Final = "1000000"


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process until now: seconds of CPU, and MiB in memory."""

    cpu_s: float
    mib: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Raises OSError where there is no /proc, as beside Linux."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        cpu_s = (int(fields[11]) + int(fields[12])) * TICK_S
        return cls(cpu_s, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


class Listener(asyncio.Protocol):
    """A socket of one person: connects, joins the room, and counts what it hears there."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._seen, self._said = b"", 0
        self._transport: asyncio.Transport | None = None
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = 0

    async def connect(self) -> "Listener":
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        async with asyncio.timeout(PATIENCE_S):
            await self.joined
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.heard += data.count(EVENT.encode())
        if data.endswith(b"\x81\x012"):
            self._send(b"3")
        elif not self.joined.done():
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        """OPEN, CONNECT, `ready`, and the acknowledgement of the join, in this order."""
        self._seen += data
        if b'430[{"ok":true' in self._seen:
            self._seen = b""
            self.joined.set_result(None)
        elif b'42["ready"' in self._seen and self._said == 1:
            self._said = 2
            self._send(b'420["neighbourhood:join",{"code":"aewol"}]')
        elif b'0{"sid"' in self._seen and self._said == 0:
            self._said = 1
            self._send(b"40" + orjson.dumps({"token": self._token}))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("the hub closed a connection of the bench"))

    def _send(self, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(Frame(Opcode.TEXT, payload).serialize(mask=True))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def measure(sockets: int, events: int) -> Passport:
    """Half of the sockets first, then the others: what the second half costs is what one costs.

    Raises OSError beside Linux, TimeoutError when the machine cannot carry so much.
    """
    with tempfile.TemporaryDirectory(prefix="dongne-bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o711)  # noqa: S103 - root lends the servers to another user
        postgres = Postgres(folder / "postgres", durable=False)
        valkey = Valkey(folder / "valkey", durable=False)
        try:
            database, redis = await postgres.start(), await valkey.start()
            await _people(database, sockets)
            environ = _environ(database, redis)
            async with _hub(environ) as (pid, port):
                return await _measure(pid, port, environ, redis, sockets, events)
        finally:
            await valkey.stop()
            await postgres.stop()


async def _measure(
    pid: int, port: int, environ: Mapping[str, str], redis: str, sockets: int, events: int
) -> Passport:
    tokens = _tokens(environ["JWT_SECRET"], sockets)
    empty = Usage.of(pid)
    listeners = await _connected(port, tokens[: sockets // 2])
    try:
        half = Usage.of(pid)
        listeners += await _connected(port, tokens[sockets // 2 :])
        full = Usage.of(pid)
        more = sockets - sockets // 2
        redis_before = await _redis_cpu_s(redis)
        await _publish(redis, events, listeners)
        told = Usage.of(pid)
        return Passport(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=_machine(),
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
            version=version("dongne-hub"),
            sockets=sockets,
            base_mib=round(empty.mib, 1),
            socket_kib=round((full.mib - half.mib) * 1024 / more, 2),
            connect_us=round((full.cpu_s - half.cpu_s) * 1e6 / more, 1),
            delivery_us=round((told.cpu_s - full.cpu_s) * 1e6 / (events * sockets), 2),
            redis_event_us=round((await _redis_cpu_s(redis) - redis_before) * 1e6 / events, 1),
        )
    finally:
        for one in listeners:
            one.close()


def _machine() -> str:
    """The processor's name, as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _environ(database: str, redis: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        "APP_ENV": "production",
        "LOG_LEVEL": "error",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "METRICS_PORT": "0",
        "DATABASE_URL": database,
        "DATABASE_SSL": "false",
        "REDIS_URL": redis,
        "JWT_SECRET": new_secret(),
        "LINK_SECRET": new_secret(),
        "CONN_MAX_NODE": FAR,
        "CONN_MAX_IP": FAR,
        "ACCEPT_RATE": FAR,
        "SHUTDOWN_DRAIN_MS": "0",
    }


async def _people(database: str, count: int) -> None:
    conn = await asyncpg.connect(database)
    try:
        await migrate(conn)
        await conn.execute(
            "INSERT INTO users (id, nickname) SELECT 'p' || n, 'p' || n"
            " FROM generate_series(0, $1 - 1) n",
            count,
        )
        await conn.execute("ANALYZE")
    finally:
        await conn.close()


def _tokens(secret: str, count: int) -> list[str]:
    keys, now = TokenKeys((secret,), "hub"), datetime.now(UTC)
    return [
        sign_access(keys, f"p{number}", "user", now=now, ttl_s=3600, jti=str(uuid4()))
        for number in range(count)
    ]


@asynccontextmanager
async def _hub(environ: Mapping[str, str]) -> AsyncIterator[tuple[int, int]]:
    """A process of its own: its id and its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub.commands.cli", "hub"),
        env=dict(environ),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while not (line := await process.stdout.readline()).startswith(b"dongne hub ready on"):
                if not line:
                    raise ConnectionError("the hub did not start")
        yield process.pid, int(line.strip().rpartition(b":")[2])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _connected(port: int, tokens: list[str]) -> list[Listener]:
    listeners = []
    for start in range(0, len(tokens), AT_ONCE):
        some = [Listener(port, token).connect() for token in tokens[start : start + AT_ONCE]]
        listeners += await asyncio.gather(*some)
    return listeners


async def _publish(redis: str, events: int, listeners: list[Listener]) -> None:
    """Until everybody has heard all of them."""
    async with Emitter.connect(redis) as emitter:
        for number in range(events):
            data = {"room": ROOM, "event": "bench", "publisher": "bench", "data": {"n": number}}
            await emitter.emit(EVENT, data, room=ROOM)
            await asyncio.sleep(PACE_S)
    async with asyncio.timeout(PATIENCE_S):
        while any(one.heard < events for one in listeners):  # noqa: ASYNC110 - it only counts
            await asyncio.sleep(PACE_S)


async def _redis_cpu_s(url: str) -> float:
    client = connect(Settings.load({"REDIS_URL": url}, complete=False).redis)
    try:
        said = await client.info("cpu")
        return float(said["used_cpu_sys"] + said["used_cpu_user"])
    finally:
        await client.aclose()


def bench_command(sockets: int, events: int, file: str) -> int:
    """The exit code; what is wrong stands on stderr."""
    try:
        found = asyncio.run(measure(sockets, events))
    except (OSError, TimeoutError) as error:
        echo(f"nothing was measured: {type(error).__name__} {error}", err=True)
        return 1
    echo(f"machine       {found.machine}, {found.cores} cores, Python {found.python}")
    echo(f"a node        {found.base_mib:.0f} MiB with nobody connected")
    echo(f"a socket      {found.socket_kib:.1f} KiB")
    echo(f"a connection  {found.connect_us:.0f} us of CPU until it is in its room")
    echo(f"a delivery    {found.delivery_us:.1f} us of CPU, one event at a time")
    echo(f"an event      {found.redis_event_us:.0f} us of Redis's CPU")
    if file:
        Path(file).write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return 0
