"""The two servers: how each is made, started, asked whether it is ready, and ended."""

import asyncio
import json
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from hub.embedded.programs import Prefer, Program, find_postgres, find_valkey
from hub.embedded.supervisor import Progress, Server, silent

ROLE = "dongne"
CONNECTIONS = 200
# `postmaster.pid`, line 8: what pg_ctl waits for (src/include/utils/pidfile.h).
STATUS_LINE = 7
# Only where losing everything at a power cut is fine (PostgreSQL docs, "Non-Durable Settings").
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(Server):
    """PostgreSQL, database `postgres`, role `dongne` (superuser of its own cluster).

    `durable=False` is for tests; `settings` are further server parameters.
    """

    title = "PostgreSQL"
    end_signal = signal.SIGINT  # fast: SIGTERM would wait until every client has gone
    crash_signal = signal.SIGQUIT  # immediate: no checkpoint, recovery at the next start

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        prefer: Prefer = "wheel",
        settings: Mapping[str, str] | None = None,
        on_progress: Progress = silent,
    ) -> None:
        super().__init__(directory, prefer, on_progress)
        self._durable = durable
        self._settings = {**({} if durable else NOT_DURABLE), **(settings or {})}

    @property
    def url(self) -> str:
        password = (self.home / "password").read_text().strip()
        return f"postgresql://{ROLE}:{password}@127.0.0.1:{self.port}/postgres"

    def _find(self) -> Program:
        return find_postgres(self.user, self.prefer)

    def _data(self) -> Path:
        """A folder for each major version: one does not read another's files."""
        return self.home / f"data-{self.program.major}"

    async def _prepare(self) -> None:
        data = self._data()
        if data.exists():
            self.on_progress(f"{self.program.title}: starting")
            return
        for other in self.home.glob("data-*"):
            self.on_progress(f"{other} is of another version and stays unused")
        self.on_progress(f"{self.program.title}: making a database, once")
        await self._initdb(data)

    async def _initdb(self, data: Path) -> None:
        """Made beside and renamed, so that a folder that exists is a whole one.

        Without UTF-8 in LC_CTYPE, Korean words have no letters: lower() and trigrams lose them.
        """
        password = self.home / "password"
        if not password.exists():
            self._write_secret(password, secrets.token_urlsafe(24) + "\n")
        fresh = self.home / "making"
        shutil.rmtree(fresh, ignore_errors=True)
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        await self._run(
            [
                str(self.program.path.with_name("initdb")),
                f"--pgdata={fresh}",
                f"--username={ROLE}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                *(builtin if self.program.major >= 17 else []),
                *([] if self._durable else ["--no-sync"]),
            ]
        )
        fresh.rename(data)

    def _command(self) -> list[str]:
        parameters = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # their paths end at 107 bytes
            "max_connections": str(CONNECTIONS),
            "timezone": "UTC",
            **self._settings,
        }
        options = [word for name, value in parameters.items() for word in ("-c", f"{name}={value}")]
        return [str(self.program.path), "-D", str(self._data()), *options]

    def _pid_file(self) -> Path:
        return self._data() / "postmaster.pid"

    async def _is_ready(self) -> bool:
        try:
            lines = self._pid_file().read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > STATUS_LINE
            and lines[0] == str(self.pid)
            and lines[STATUS_LINE].strip() == "ready"
        )


class Valkey(Server):
    """Valkey (or Redis 7 and later); `durable` keeps an append-only file, synced each second.

    `settings` are further lines of its configuration.
    """

    title = "Valkey"
    end_signal = signal.SIGTERM
    crash_signal = signal.SIGKILL

    def __init__(
        self,
        directory: Path,
        *,
        password: str | None = None,
        durable: bool = True,
        prefer: Prefer = "wheel",
        settings: Mapping[str, str] | None = None,
        on_progress: Progress = silent,
    ) -> None:
        super().__init__(directory, prefer, on_progress)
        self._password = password or secrets.token_urlsafe(24)
        self._durable = durable
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        return f"redis://:{quote(self._password, safe='')}@127.0.0.1:{self.port}/0"

    def _find(self) -> Program:
        return find_valkey(self.user, self.prefer)

    def _data(self) -> Path:
        return self.home / "data"

    async def _prepare(self) -> None:
        self.on_progress(f"{self.program.title}: starting")
        if not self._data().exists():
            self._data().mkdir(mode=0o700)
            self.user.own(self._data())

    def _command(self) -> list[str]:
        """The settings go through a file: a command line is open to every user of the machine."""
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": json.dumps(self._password, ensure_ascii=False),
            "dir": json.dumps(str(self._data())),
            "pidfile": json.dumps(str(self._pid_file())),
            "save": '""',
            "appendonly": "yes" if self._durable else "no",
            **self._settings,
        }
        conf = self.home / "conf"
        self._write_secret(conf, "".join(f"{name} {value}\n" for name, value in lines.items()))
        return [str(self.program.path), str(conf)]

    def _pid_file(self) -> Path:
        return self._data() / "server.pid"

    async def _is_ready(self) -> bool:
        secret = self._password.encode()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\nPING\r\n" % (len(secret), secret))
            return await reader.readexactly(12) == b"+OK\r\n+PONG\r\n"
        except (asyncio.IncompleteReadError, OSError):
            return False
        finally:
            writer.close()


@asynccontextmanager
async def postgres(
    directory: Path,
    *,
    durable: bool = True,
    prefer: Prefer = "wheel",
    on_progress: Progress = silent,
) -> AsyncIterator[str]:
    """The URL of a PostgreSQL that lives as long as the block."""
    server = Postgres(directory, durable=durable, prefer=prefer, on_progress=on_progress)
    try:
        yield await server.start()
    finally:
        await server.stop()


@asynccontextmanager
async def valkey(
    directory: Path,
    *,
    password: str | None = None,
    durable: bool = True,
    prefer: Prefer = "wheel",
    on_progress: Progress = silent,
) -> AsyncIterator[str]:
    """The URL of a Valkey that lives as long as the block."""
    server = Valkey(
        directory, password=password, durable=durable, prefer=prefer, on_progress=on_progress
    )
    try:
        yield await server.start()
    finally:
        await server.stop()
