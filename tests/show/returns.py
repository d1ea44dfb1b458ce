"""Stock clients of four languages come back: from a cut, from an expired token, from a drain.

Two hubs stand behind a balancer of TCP connections; each client keeps its own defaults. The Java
and the Rust one are built where their tools are found, from the package registries, in a folder
that goes away.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from hub.plumbing.settings.settings import Settings
from tests.conftest import SECRETS
from tests.hub.sockets.conftest import Running, running
from tests.show import Verdict
from tests.show.stores import fresh_stores

SOURCES: Final = Path(__file__).with_name("returning")
MODULES: Final = Path(__file__).parents[1] / "node" / "node_modules"
WITHIN_S: Final = 2.0
PATIENCE_S: Final = 20.0
SHORT_S: Final = PATIENCE_S + 8.0
"""How long the token lives, from the beginning, that each client has when it is back from the
cut."""

TRANSPORTS: Final = {
    "JavaScript": ("polling,websocket", "websocket", "polling"),
    "Python": ("polling,websocket", "websocket", "polling"),
    "Java": ("polling,websocket", "websocket", "polling"),
    "Rust": ("websocket", "polling"),
}


class Balancer:
    """Passes each TCP connection to the hub that is named when it comes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """All connections break on both sides."""
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
            await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Up to the end of this way, which is told to the other side."""
        self._writers.add(writer)
        try:
            with suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()


def user_of(name: str) -> str:
    return name.replace(" ", "-").replace(",", "-")


class Peer:
    """A client as a process of its own; `lines` with the moment at which each was printed."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.lines: list[tuple[str, float]] = []
        self.lost_at = 0.0
        self._process = process
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append((line.decode().strip(), monotonic()))

    def count(self, word: str) -> int:
        return sum(line == word for line, _ in self.lines)

    def last_ready(self) -> float:
        return max(at for line, at in self.lines if line == "ready")

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading


# --- building ------------------------------------------------------------------------------------


def _java(folder: Path) -> list[str]:
    shutil.copytree(SOURCES / "java", folder / "java")
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    _run(folder / "java", "mvn", "-q", "-B", plugin, "-DoutputDirectory=lib")
    _run(folder / "java", "javac", "-cp", "lib/*", "-d", "out", "Returns.java")
    where = os.pathsep.join((str(folder / "java" / "lib" / "*"), str(folder / "java" / "out")))
    return ["java", "-cp", where, "Returns"]


def _rust(folder: Path) -> list[str]:
    shutil.copytree(SOURCES / "rust", folder / "rust")
    _run(folder / "rust", "cargo", "build", "--quiet")
    return [str(folder / "rust" / "target" / "debug" / "returns")]


def _javascript(_folder: Path) -> list[str]:
    if not MODULES.is_dir():
        raise FileNotFoundError("tests/node/node_modules")
    return ["node", str(SOURCES / "returns.js")]


def _python(_folder: Path) -> list[str]:
    return [sys.executable, str(SOURCES / "python_client.py")]


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)


BUILDERS: Final[dict[str, tuple[tuple[str, ...], Callable[[Path], list[str]]]]] = {
    "JavaScript": (("node",), _javascript),
    "Python": ((), _python),
    "Java": (("mvn", "javac", "java"), _java),
    "Rust": (("cargo",), _rust),
}


@contextmanager
def _built() -> Iterator[tuple[dict[str, list[str]], dict[str, str]]]:
    """The command of each client by its language, and why others have none."""
    commands, missing = {}, {}
    with tempfile.TemporaryDirectory(prefix="returns-") as folder:
        for language, (tools, build) in BUILDERS.items():
            absent = [tool for tool in tools if shutil.which(tool) is None]
            if absent:
                missing[language] = f"no {absent[0]}"
                continue
            try:
                commands[language] = build(Path(folder))
            except (OSError, subprocess.SubprocessError) as error:
                missing[language] = f"not built: {error}"
        yield commands, missing


# --- playing -------------------------------------------------------------------------------------


@asynccontextmanager
async def _peers(
    commands: dict[str, list[str]], url: str, hub: Running
) -> AsyncIterator[tuple[list[Peer], float]]:
    """All of them ready for the first time, and the moment at which their second tokens end."""
    found: list[Peer] = []
    try:
        for language, command in commands.items():
            for transports in TRANSPORTS[language]:
                name = f"{language} {transports}"
                tokens = [hub.token(user_of(name), ttl_s=ttl_s) for ttl_s in (900, SHORT_S, 900)]
                process = await asyncio.create_subprocess_exec(
                    *command, url, transports, *tokens, stdout=PIPE, stderr=DEVNULL, stdin=DEVNULL,
                    env={**os.environ, "NODE_PATH": str(MODULES)},
                )  # fmt: skip
                found.append(Peer(name, process))
        ends = monotonic() + SHORT_S
        await _until(found, lambda peer: peer.count("ready") >= 1, PATIENCE_S)
        yield found, ends
    finally:
        for peer in found:
            await peer.close()


async def _until(peers: list[Peer], true: Callable[[Peer], bool], seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not all(map(true, peers)):
                await asyncio.sleep(0.01)


def _here(hubs: list[Running]) -> set[str]:
    """Who sits on a socket."""
    return {
        member.data.user_id
        for hub in hubs
        for member in hub.door.node.guests.values()
        if not member.link.over
    }


async def _phase(peers: list[Peer], hubs: list[Running], seconds: float) -> list[tuple[str, float]]:
    """Until each has lost its socket and is ready once more: how long that took it, in s."""
    begin = monotonic()
    before = {peer.name: peer.count("ready") for peer in peers}
    lost: dict[str, float] = {}
    while monotonic() - begin < seconds:
        here = _here(hubs)
        for peer in peers:
            if user_of(peer.name) not in here or peer.count("ready") > before[peer.name]:
                lost.setdefault(peer.name, monotonic())
        if all(peer.count("ready") > before[peer.name] for peer in peers):
            break
        await asyncio.sleep(0.005)
    return [
        (
            peer.name,
            peer.last_ready() - lost[peer.name]
            if peer.count("ready") > before[peer.name]
            else float("inf"),
        )
        for peer in peers
    ]


async def _play(settings: Settings, commands: dict[str, list[str]]) -> Verdict:
    parts, good = [], True
    async with running(settings) as first, running(settings) as second:
        balancer = Balancer(first.port)
        url = await balancer.start()
        async with _peers(commands, url, first) as (peers, ends):
            started = [peer for peer in peers if peer.count("ready")]
            for peer in peers:
                if peer not in started:
                    parts.append(f"{peer.name} never came")
                    good = False
            hubs = [first, second]

            async def expire() -> None:
                """Time does it."""

            async def cut() -> None:
                balancer.cut()

            async def drain() -> None:
                balancer.port = second.port
                await first.door.drain()

            for name, begin in (("cut", cut), ("expiry", expire), ("drain", drain)):
                late = max(0.0, ends - monotonic()) if name == "expiry" else 0.0
                beginning = asyncio.create_task(begin())
                took = await _phase(started, hubs, late + 10)
                await beginning
                slow = [f"{peer} {s:.1f} s" for peer, s in took if s > WITHIN_S]
                good = good and not slow
                slowest = max(s for _, s in took)
                parts.append(
                    f"{name}: {len(took) - len(slow)} of {len(took)} back in time,"
                    f" the slowest after {slowest:.2f} s" + "".join(f", {one}" for one in slow)
                )
            told = sum(peer.count("told") > 0 for peer in started)
            good = good and told == len(started)
            parts.append(f"{told} of {len(started)} heard server:shutdown")
        await balancer.stop()
    return Verdict(good, "; ".join(parts))


async def show() -> Verdict:
    """Everybody is back within WITHIN_S of the end of their socket."""
    with _built() as (commands, missing):
        async with fresh_stores() as stores:
            own = {
                "APP_ENV": "test",
                "LOG_LEVEL": "error",
                "DATABASE_URL": stores.database_url,
                "REDIS_URL": stores.redis_url,
                "SHUTDOWN_TIMEOUT": "8000",
                "SHUTDOWN_DRAIN_MS": "0",
                "AUTH_EXPIRED_GRACE": "0",  # half a minute shows nothing more
                **SECRETS,
            }
            verdict = await _play(Settings.load(own), commands)
    absent = "".join(f"; {language}: {why}" for language, why in missing.items())
    return Verdict(verdict.passed, f"{', '.join(commands)}: {verdict.figures}{absent}")
