"""TLS to Postgres: what every process that connects demands of the server's certificate."""

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from hub.commands.operate import migrating
from hub.domain.assembly import open_domain, open_limits
from hub.domain.context import Domain
from hub.embedded import Postgres
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import migrate
from hub.plumbing.stores.postgres import Connection
from tests.conftest import FLAVOUR, SECRETS
from tests.databases import fresh_database
from tests.tls import handed_on, self_signed, serving
from workers.channels.provider import open_providers
from workers.runner import Pace, Runner, run_worker

pytestmark = pytest.mark.fault(29)

PLAIN = "sslmode=disable"


@pytest.fixture(scope="session")
async def server(scratch: Path, postgres_url: str) -> AsyncIterator[tuple[str, Path]]:
    """URL of a migrated PostgreSQL with TLS, and the authority of its certificate for 127.0.0.1.

    The machine's own server speaks TLS itself; that of the wheel is built without, so something
    before it does, which takes no clear text.
    """
    folder = scratch / "tls"
    folder.mkdir(mode=0o711)
    certificate, key = self_signed(folder, "127.0.0.1")
    if FLAVOUR == "wheel":
        async with (
            fresh_database(postgres_url) as url,
            before_postgres(url, certificate, key) as at,
        ):
            yield at, certificate
        return
    files = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    server = Postgres(scratch / "tls-postgres", durable=False, prefer=FLAVOUR, settings=files)
    key.chmod(0o600)
    server.user.own(key)
    url = await server.start()
    async with observer(url) as conn:
        await migrate(conn)
    yield url, certificate
    await server.stop()


SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""PostgreSQL manual, "Message Formats"."""


@asynccontextmanager
async def before_postgres(url: str, certificate: Path, key: Path) -> AsyncIterator[str]:
    """The same database behind TLS, begun as PostgreSQL begins it; clear text is hung up on."""
    target = urlsplit(url).port
    context = serving(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                await handed_on(reader, writer, target or 0)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        yield url.replace(f":{target}/", f":{port}/")


@asynccontextmanager
async def observer(url: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(url, ssl="disable")
    yield conn
    await conn.close()


@pytest.fixture(autouse=True)
def no_authorities_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What whoever runs the tests trusts at home, or names in the environment, decides nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("PGSSL")]:
        monkeypatch.delenv(name)


def settings(url: str, redis_url: str = "redis://127.0.0.1:1", **more: str) -> Settings:
    """As a production process reads them: DATABASE_SSL is true there."""
    given = {"APP_ENV": "production", "DATABASE_URL": url, "REDIS_URL": redis_url}
    return Settings.load({**given, "DB_POOL_MIN": "1", **SECRETS, **more})


async def open_pool(given: Settings, _domain: Domain) -> None:
    """hub and api; the sweeper listens on a connection of the pool."""
    life = Lifecycle()
    try:
        await open_domain(life, given)
    finally:
        await life.close()


async def open_worker(given: Settings, domain: Domain) -> None:
    """The claims, and their LISTEN."""
    life = Lifecycle()
    try:
        limits = open_limits(life, given)
        providers = await open_providers(life, given.channels)
        runner = Runner(given, domain, providers, limits, Pace())
        await runner.open()
        await runner.stop()
        await runner.run()  # closes what was opened
    finally:
        await life.close()


async def open_migrations(given: Settings, _domain: Domain) -> None:
    await (await migrating(given.database)).close()


WAYS = [open_pool, open_worker, open_migrations]


async def test_every_connection_of_a_production_process_is_verified(
    server: tuple[str, Path], redis_url: str, record_property: Any
) -> None:
    url, certificate = server
    given = settings(f"{url}?sslrootcert={quote(str(certificate))}", redis_url)
    life = Lifecycle()
    try:
        conn = await migrating(given.database)
        life.on_stop("conn", conn.close)
        domain = await open_domain(life, given)
        await run_worker(life, given, domain, await open_providers(life, given.channels))
        rows = await conn.fetch(
            "SELECT application_name AS name, bool_and(ssl) AS ssl FROM pg_stat_activity"
            " JOIN pg_stat_ssl USING (pid) WHERE application_name LIKE 'dongne-%'"
            " AND datname = current_database() GROUP BY application_name ORDER BY 1"
        )
    finally:
        await life.close()
    names = [row["name"] for row in rows]
    record_property("seen", f"verified connections of {', '.join(names)}")
    assert names == ["dongne-api", "dongne-migrate", "dongne-worker"]
    assert all(row["ssl"] for row in rows) or FLAVOUR == "wheel"  # where no clear text gets through


REFUSED = {
    "a certificate of its own making": ("", {}),
    "the same, asked for in the URL": ("sslmode=verify-full", {"DATABASE_SSL": "false"}),
    "the same, by the authorities of this machine": ("sslrootcert=system", {}),
    "another host": ("sslrootcert={root}&host=localhost", {}),
    "another host, asked for in the URL": (
        "sslmode=verify-full&sslrootcert={root}&host=localhost",
        {"DATABASE_SSL": "false"},
    ),
    "another authority": ("sslmode=verify-ca&sslrootcert={other}", {"DATABASE_SSL": "false"}),
    "a weaker mode with another authority": ("sslmode=require&sslrootcert={other}", {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REFUSED)
async def test_a_server_that_does_not_prove_itself_is_refused(
    server: tuple[str, Path], domain: Domain, tmp_path: Path, way: Any, case: str
) -> None:
    url, certificate = server
    query, more = REFUSED[case]
    other, _ = self_signed(tmp_path, "127.0.0.1")
    query = query.format(root=quote(str(certificate)), other=quote(str(other)))
    if "host=localhost" in query:
        url = url.replace("127.0.0.1", "localhost")
        query = query.replace("&host=localhost", "")
    with pytest.raises(ssl.SSLCertVerificationError):
        await way(settings(f"{url}?{query}", **more), domain)


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_falls_back_to_clear_text(
    database_url: str, domain: Domain, tmp_path: Path, way: Any
) -> None:
    """The tests' own server speaks no TLS: who must have it does without the server."""
    with pytest.raises(ConnectionError, match="SSL upgrade"):
        await way(settings(database_url), domain)


@pytest.mark.parametrize("way", WAYS)
async def test_the_url_may_ask_for_less(
    server: tuple[str, Path], database_url: str, domain: Domain, way: Any
) -> None:
    """`require` encrypts without a proof, `verify-ca` asks for no host, `disable` for nothing."""
    url, certificate = server
    root = quote(str(certificate))
    await way(settings(f"{url}?sslmode=require"), domain)
    there = url.replace("127.0.0.1", "localhost")
    await way(settings(f"{there}?sslmode=verify-ca&sslrootcert={root}"), domain)
    await way(settings(f"{database_url}?{PLAIN}"), domain)
    await way(settings(database_url, DATABASE_SSL="false"), domain)


async def test_authorities_may_be_named_as_for_libpq(
    server: tuple[str, Path], domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = server
    home = tmp_path / ".postgresql"
    home.mkdir()
    (home / "root.crt").write_bytes(certificate.read_bytes())
    await open_migrations(settings(url), domain)
    (home / "root.crt").unlink()
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate))
    await open_migrations(settings(url), domain)
    monkeypatch.setenv("PGSSLMODE", "disable")  # is weaker than DATABASE_SSL
    await open_migrations(settings(url), domain)


async def test_a_word_of_another_part_of_the_url_is_no_mode(
    server: tuple[str, Path], domain: Domain
) -> None:
    """A password may hold any text."""
    url, _ = server
    told = url.replace("dongne:", "dongne:sslmode=disable")
    with pytest.raises(ssl.SSLCertVerificationError):
        await open_migrations(settings(told), domain)
