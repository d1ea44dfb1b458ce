"""The embedded servers: real PostgreSQL and Valkey, started, stopped, killed and taken over."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from hub.embedded import EmbeddedError, Postgres, Prefer, Valkey, postgres, valkey
from hub.embedded.account import account
from hub.embedded.programs import find_postgres, find_valkey

REPOSITORY = Path(__file__).resolve().parents[3]
NOBODY = 65534
PRINT_VERSION = "import sys; print(sys.version_info[:2])"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may lend servers to a user")


def has(prefer: Prefer) -> bool:
    """Whether this flavour of both servers is on the machine."""
    try:
        return bool(find_postgres(account(), prefer) and find_valkey(account(), prefer))
    except EmbeddedError:
        return False


def flavours() -> list[Prefer]:
    both: list[Prefer] = ["wheel", "system"]
    return [prefer for prefer in both if has(prefer)]


async def ask(url: str, query: str, *arguments: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def ended(pid: int) -> None:
    """Until no process has this pid, or a zombie has it that its new parent does not fetch."""
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("prefer", flavours())
async def test_data_outlives_a_stop_and_a_second_start(tmp_path: Path, prefer: Prefer) -> None:
    said: list[str] = []
    for start in (1, 2):
        async with postgres(tmp_path / "p", prefer=prefer, on_progress=said.append) as url:
            if start == 1:
                await ask(url, "CREATE TABLE kept AS SELECT '귤밭'::text AS name")
            assert await ask(url, "SELECT name FROM kept") == "귤밭"
        async with (
            valkey(tmp_path / "v", prefer=prefer, on_progress=said.append) as url,
            Redis.from_url(url, decode_responses=True) as redis,
        ):
            if start == 1:
                await redis.set("kept", "귤밭")
            assert await redis.get("kept") == "귤밭"
    assert [line for line in said if "once" in line] == [said[0]]
    assert all(f"({prefer})" in line for line in said)


@pytest.mark.parametrize("prefer", flavours())
async def test_korean_text_has_letters_order_and_bigrams(tmp_path: Path, prefer: Prefer) -> None:
    async with postgres(tmp_path, durable=False, prefer=prefer) as url:
        assert await ask(url, "SHOW server_encoding") == "UTF8"
        assert await ask(url, "SELECT lower('JEJU 한라산 ÀÉ')") == "jeju 한라산 àé"
        words = ["한라산", "제주", "가파도", "Jeju"]
        ordered = await ask(url, "SELECT array_agg(w ORDER BY w) FROM unnest($1::text[]) w", words)
        assert ordered == ["Jeju", "가파도", "제주", "한라산"]
        assert await ask(url, "SELECT regexp_replace('약국, 어디?', '[^[:alnum:]]', '', 'g')") == (
            "약국어디"
        )
        await ask(
            url,
            "CREATE FUNCTION bigrams(t text) RETURNS text[] LANGUAGE sql IMMUTABLE RETURN "
            "ARRAY(SELECT substr(t, i, 2) FROM generate_series(1, length(t) - 1) i)",
        )
        assert await ask(url, "SELECT bigrams('한라산길')") == ["한라", "라산", "산길"]


async def test_servers_are_closed_to_others(tmp_path: Path) -> None:
    async with postgres(tmp_path / "p", durable=False) as url:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url, password="wrong")
    server = Valkey(tmp_path / "v", password="not in ps", durable=False)
    await server.start()
    try:
        async with Redis.from_url(server.url.replace("not%20in%20ps", "wrong")) as redis:
            with pytest.raises(AuthenticationError):
                await redis.ping()
        assert b"not in ps" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        for path in server.home.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert server.pid is not None
        assert os.getsid(server.pid) != os.getsid(0), "Ctrl-C would reach it before its owner"
        assert server.home.stat().st_uid == Path(f"/proc/{server.pid}").stat().st_uid != 0
    finally:
        await server.stop()


async def test_a_crash_keeps_the_port_and_what_was_committed(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    url = await server.start()
    try:
        await ask(url, "CREATE TABLE kept AS SELECT 1 AS one")
        await server.crash()
        assert server.pid is None
        assert await server.start() == url
        assert await ask(url, "SELECT one FROM kept") == 1
    finally:
        await server.stop()


async def test_who_waits_hears_of_the_end(tmp_path: Path) -> None:
    server = Valkey(tmp_path, durable=False)
    await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    await server.stop()


@pytest.mark.parametrize("kind", [Postgres, Valkey])
async def test_a_folder_has_one_owner(tmp_path: Path, kind: type[Postgres | Valkey]) -> None:
    first, second = kind(tmp_path, durable=False), kind(tmp_path, durable=False)
    await first.start()
    try:
        with pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}"):
            await second.start()
        with pytest.raises(EmbeddedError, match="already started"):
            await first.start()
        assert first.pid is not None
    finally:
        await first.stop()
    await second.start()
    await second.stop()


@pytest.mark.parametrize("kind", [Postgres, Valkey])
async def test_an_orphan_is_ended_at_the_next_start(
    tmp_path: Path, kind: type[Postgres | Valkey]
) -> None:
    """The same command without our launcher outlives its owner, as where there is no prctl."""
    server = kind(tmp_path)
    await server.start()
    command = Path(f"/proc/{server.pid}/cmdline").read_text().rstrip("\0").split("\0")
    await server.stop()
    if kind is Valkey:  # it shows its address where the path of its settings stood
        command = [str(server.program.path), str(server.home / "conf")]
    orphan = subprocess.Popen(
        command,
        cwd=server.home,
        user=server.user.uid if server.user.switched else None,
        group=server.user.gid if server.user.switched else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await pid_file_names(orphan.pid, server.home)
        said: list[str] = []
        next_owner = kind(tmp_path, on_progress=said.append)
        await next_owner.start()
        await next_owner.stop()
        assert orphan.wait(20) == 0, "ended in order"
        assert any("left behind" in line for line in said)
    finally:
        orphan.kill()
        orphan.wait()


async def pid_file_names(pid: int, home: Path) -> None:
    async with asyncio.timeout(20):
        while not any(f.read_text().startswith(f"{pid}\n") for f in home.glob("data*/*.pid")):
            await asyncio.sleep(0.01)


async def test_a_pid_that_is_another_programs_now_does_not_matter(tmp_path: Path) -> None:
    async with postgres(tmp_path, durable=False):
        pass
    (pid_file,) = (tmp_path / "server").glob("data-*")
    (pid_file / "postmaster.pid").write_text(f"{os.getpid()}\n{pid_file}\n")
    async with postgres(tmp_path, durable=False) as url:
        assert await ask(url, "SELECT 1") == 1


async def test_a_failure_says_what_the_server_said(tmp_path: Path) -> None:
    server = Valkey(tmp_path, settings={"no-such-setting": "1"})
    with pytest.raises(EmbeddedError, match="no-such-setting"):
        await server.start()
    assert server.pid is None
    async with valkey(tmp_path) as url:
        assert url.startswith("redis://")


async def test_long_paths_do_not_matter(tmp_path: Path) -> None:
    deep = tmp_path / ("나" * 40) / ("long" * 20)
    async with postgres(deep, durable=False) as url:
        assert await ask(url, "SELECT 1") == 1


@as_root
async def test_root_lends_servers_to_an_unprivileged_user_even_in_a_closed_folder(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = Valkey(closed / "v", durable=False)
    await server.start()
    await server.stop()
    home = server.home
    assert not home.is_relative_to(closed)
    shutil.rmtree(closed)
    other = Valkey(tmp_path / "other", durable=False)
    await other.start()
    await other.stop()
    assert not home.exists(), "what belonged to a removed folder is removed"


@as_root
async def test_data_in_roots_store_follows_a_folder_that_is_moved(tmp_path: Path) -> None:
    async with postgres(tmp_path / "before" / "p", durable=False) as url:
        await ask(url, "CREATE TABLE kept AS SELECT 1 AS one")
    (tmp_path / "before").rename(tmp_path / "after")
    async with postgres(tmp_path / "after" / "p", durable=False) as url:
        assert await ask(url, "SELECT one FROM kept") == 1
    other = Valkey(tmp_path / "other", durable=False)
    await other.start()
    await other.stop()
    assert (tmp_path / "after" / "p" / "server" / "password").exists()


@as_root
async def test_a_home_that_was_closed_is_named() -> None:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    try:
        async with valkey(directory / "v", durable=False):
            pass
        assert not (directory / "v" / "server").is_symlink()
        directory.chmod(0o700)
        with pytest.raises(EmbeddedError, match="chmod o"):
            await Valkey(directory / "v").start()
    finally:
        shutil.rmtree(directory)


@dataclass
class Owner:
    process: asyncio.subprocess.Process
    postgres_url: str
    postgres_pid: int
    valkey_url: str
    valkey_pid: int


@asynccontextmanager
async def owner(directory: Path, user: int | None = None) -> AsyncIterator[Owner]:
    """Another process that owns both servers, as us or (from root) as an unprivileged user."""
    command = [sys.executable, "-m", "tests.hub.embedded.embedded_owner", str(directory)]
    environment = dict(os.environ)
    if user is not None:
        command[0] = python_of(user)
        environment["PYTHONPATH"] = sysconfig.get_path("purelib")
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [*as_user(user), *command]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=REPOSITORY,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        (postgres_url, postgres_pid), (valkey_url, valkey_pid) = json.loads(line)
        yield Owner(process, postgres_url, postgres_pid, valkey_url, valkey_pid)
    finally:
        process.stdin.close()
        await process.wait()


def as_user(user: int) -> list[str]:
    return f"setpriv --reuid {user} --regid {user} --clear-groups".split()


def python_of(user: int) -> str:
    """A Python of our version that this user may run."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        tried = subprocess.run(
            # Through a shell: setpriv itself still has root's capabilities at its own exec.
            [*as_user(user), "/bin/sh", "-c", '"$0" -c "$1"', candidate, PRINT_VERSION],
            cwd="/",
            capture_output=True,
            text=True,
        )
        if tried.stdout.strip() == str(sys.version_info[:2]):
            return candidate
    pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} that user {user} may run")


async def test_kill_minus_nine_of_the_owner_leaves_no_orphan_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with owner(tmp_path) as killed:
        await ask(killed.postgres_url, "CREATE TABLE kept AS SELECT 1 AS one")
        async with Redis.from_url(killed.valkey_url) as redis:
            await redis.set("kept", "1")
        killed.process.kill()
        await ended(killed.postgres_pid)
        await ended(killed.valkey_pid)
    async with owner(tmp_path) as second:
        assert await ask(second.postgres_url, "SELECT one FROM kept") == 1
        async with Redis.from_url(second.valkey_url) as redis:
            assert await redis.get("kept") == b"1"


async def test_starts_at_once_after_kill_minus_nine(tmp_path: Path) -> None:
    """The next owner does not wait for the parent-death signal to have done its work."""
    async with owner(tmp_path) as killed:
        killed.process.kill()
        await killed.process.wait()
        async with owner(tmp_path) as second:
            assert await ask(second.postgres_url, "SELECT 1") == 1


@as_root
async def test_an_ordinary_user_needs_nothing_of_root() -> None:
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, NOBODY, NOBODY)
    try:
        async with owner(directory, NOBODY) as ordinary:
            assert await ask(ordinary.postgres_url, "SELECT 1") == 1
            ordinary.process.kill()
            await ended(ordinary.postgres_pid)
            async with owner(directory, NOBODY) as second:
                assert await ask(second.postgres_url, "SELECT 1") == 1
            assert {path.stat().st_uid for path in directory.rglob("*")} == {NOBODY}
    finally:
        shutil.rmtree(directory)
