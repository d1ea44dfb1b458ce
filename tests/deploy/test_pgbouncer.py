"""PgBouncer for real, by the chart's own file: an api and a worker that pool transactions (C34)."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest

from hub.domain.context import Domain
from hub.embedded.supervisor import free_port
from tests.deploy.proxies import listens, replaced
from tests.deploy.tree import DEPLOY, program, read_yaml
from tests.stories.latency import token_of
from tests.stories.processes import Door, doors, environment

PGBOUNCER = program("pgbouncer")
pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer on this machine"),
]
POOL, PEOPLE = 3, 30


def configuration(url: str, port: int, folder: Path) -> str:
    """The chart's, with this run's addresses; the embedded server speaks no TLS."""
    template = (DEPLOY / "helm" / "dongne" / "templates" / "pgbouncer.yaml").read_text("utf-8")
    block = template.partition("  pgbouncer.ini: |\n")[2].partition("---\n")[0]
    text = "".join(line.removeprefix("    ") for line in block.splitlines(keepends=True))
    parts, values = urlsplit(url), read_yaml(DEPLOY / "helm" / "dongne" / "values.yaml")
    own = {"database": parts.path[1:], "host": parts.hostname, "port": parts.port, "poolSize": POOL}
    for name, value in {**values["pgbouncer"], **own}.items():
        text = re.sub(rf"{{{{ (?:required \S+ )?\$pool\.{name} }}}}", str(value), text)
    assert "{{" not in text, text
    text = replaced(r"listen_addr = 0\.0\.0\.0", "listen_addr = 127.0.0.1", text)
    text = replaced(r"listen_port = 6432", f"listen_port = {port}", text)
    text = replaced(r"auth_file = \S+", f"auth_file = {folder}/userlist.txt", text)
    text = replaced(r"server_tls_sslmode = verify-full", "server_tls_sslmode = disable", text)
    text = replaced(r"server_tls_ca_file = \S+\n", "", text)
    return f"{text}unix_socket_dir =\n"


@pytest.fixture
async def pooled_url(database_url: str, scratch: Path) -> AsyncIterator[str]:
    """DATABASE_URL through it; it runs as nobody, for it refuses to be root."""
    assert PGBOUNCER is not None
    parts, port, folder = urlsplit(database_url), free_port(), scratch / f"pool-{free_port()}"
    folder.mkdir(mode=0o755)
    (folder / "userlist.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
    (folder / "pgbouncer.ini").write_text(configuration(database_url, port, folder))
    who = ["--user", "nobody"] if os.geteuid() == 0 else []
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PGBOUNCER, *who, str(folder / "pgbouncer.ini"), stdout=log, stderr=log
        )
    async with asyncio.timeout(10):
        while not await listens(port):
            assert process.returncode is None, (folder / "log").read_text()
            await asyncio.sleep(0.05)
    where = f"{parts.username}:{parts.password}@127.0.0.1:{port}"
    yield urlunsplit(parts._replace(netloc=where))
    process.terminate()
    await process.wait()


async def test_many_people_share_few_connections(
    domain: Domain, database_url: str, pooled_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Questions and answers of thirty at once, over three connections to the server; the jobs they
    cause are done, so LISTEN and locks went straight.
    """
    straight = {"DATABASE_DIRECT_URL": database_url, "DB_STATEMENT_CACHE": "0"}
    env = environment(pooled_url, redis_url, **straight, SHUTDOWN_DRAIN_MS="0", DB_POOL_MAX="20")
    api, worker = (Door(role, env, tmp_path / f"{role}.log") for role in ("api", "worker"))
    async with doors(api, worker), aiohttp.ClientSession(f"{api.url}/api/v1/") as http:

        async def take_part(number: int) -> None:
            who = {"Authorization": f"Bearer {token_of(domain, f'pooled-{number}')}"}
            body = {"title": "약국", "content": "약국이 어디에 있나요?"}
            async with http.post("questions", json=body, headers=who) as asked:
                assert asked.status == 201, await asked.text()
                question = (await asked.json())["id"]
            other = {"Authorization": f"Bearer {token_of(domain, f'other-{number}')}"}
            body = {"questionId": question, "content": "길 건너편이요."}
            async with http.post("answers", json=body, headers=other) as answered:
                assert answered.status == 201, await answered.text()

        await asyncio.gather(*map(take_part, range(PEOPLE)))
        conn = await asyncpg.connect(database_url)
        async with asyncio.timeout(20):
            while await conn.fetchval("SELECT count(*) FROM pgqueuer WHERE execute_after <= now()"):
                await asyncio.sleep(0.1)
        assert await conn.fetchval("SELECT count(*) FROM answers") == PEOPLE
        assert await conn.fetchval("SELECT sum(unread) FROM inbox_heads") == PEOPLE
        await conn.close()
