"""Backups that are restored: every row and sequence, and a point in time to the chosen second."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time

import asyncpg
import pytest

from deploy.backup import drill
from hub.embedded import Postgres
from hub.embedded.account import account
from hub.plumbing.stores.migrations import migrate
from tests.deploy.tree import DEPLOY


@dataclass
class Source:
    """A server whose transaction log is archived, with rows of every kind that a dump can lose."""

    server: Postgres
    url: str
    folder: Path
    scripts: Path

    def environ(self) -> dict[str, str]:
        tools = self.server.program.path.parent
        return {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "DATABASE_URL": self.url,
            "BACKUP_DIR": str(self.folder),
            "BACKUP_METRICS": str(self.folder / "backup.prom"),
        }

    async def run(self, script: str, *words: object, **more: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            str(self.scripts / script),
            *map(str, words),
            env={**self.environ(), **more},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def fetch(self, sql: str) -> str:
        return str(await fetch(self.url, sql))


async def fetch(url: str, sql: str) -> object:
    conn = await asyncpg.connect(url)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


@pytest.fixture(scope="module")
async def source(scratch: Path) -> AsyncIterator[Source]:
    """In the scratch of the run: the server's user must reach its scripts and its archive."""
    base = scratch / "backup"
    folder = base / "kept"
    for one in (folder, folder / "backups", folder / "backups" / "dongne"):
        one.mkdir(parents=True)
        account().own(one)  # where the server is another user, it writes here, too
    scripts = base / "scripts"
    shutil.copytree(DEPLOY / "backup", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    for one in (base, scripts):
        one.chmod(0o755)
    command = f'BACKUP_DIR="{folder}" "{scripts}/wal-archive.sh" "%p" "%f"'
    settings = {"archive_mode": "on", "archive_command": command, "archive_timeout": "900"}
    server = Postgres(base / "postgres", durable=False, settings=settings)
    url = await server.start()
    conn = await asyncpg.connect(url)
    await migrate(conn)
    await conn.execute(
        """
        INSERT INTO users (id, nickname, is_local_verified, created_at, updated_at)
             SELECT 'user' || n, '제주 | ' || n, n % 2 = 0, now(), now()
               FROM generate_series(1, 500) n;
        INSERT INTO outbox (kind, key, payload, available_at)
             SELECT 'event', n::text, '\\x00ff'::bytea, now() FROM generate_series(1, 300) n;
        CREATE TABLE moments (id serial PRIMARY KEY, said text);
        """
    )
    await conn.close()
    yield Source(server, url, folder, scripts)
    await server.stop()


async def test_a_full_backup_comes_back_row_for_row(source: Source) -> None:
    code, said = await source.run("backup.sh", "full")
    assert code == 0, said
    backup = drill.newest(source.folder, "dongne", "full")
    manifest = (backup / "manifest").read_text()
    assert "\nusers|500|" in manifest
    assert "outbox_id_seq|300\n" in manifest
    assert "moments_id_seq|1 unused" in manifest
    assert 'kind="full"' in (source.folder / "backup.prom").read_text()
    code, seconds = await drill.restore(backup, source.environ())
    assert code == 0
    print(f"restored in {seconds:.2f} s")


async def test_a_difference_or_a_broken_file_fails_the_drill(source: Source) -> None:
    code, said = await source.run("backup.sh", "full", BACKUP_NAME="other")
    assert code == 0, said
    backup = drill.newest(source.folder, "other", "full")
    manifest = backup / "manifest"
    right = manifest.read_text()
    manifest.write_text(right.replace("users|500|", "users|501|"))
    code, said = await source.run("restore.sh", backup)
    assert code != 0
    assert "manifest: FAILED" in said  # the seal is broken
    (backup / "SHA256SUMS").unlink()
    code, said = await source.run("../scripts/restore.sh", backup)
    assert code != 0
    sums = await asyncio.create_subprocess_shell(f"cd {backup} && sha256sum * > SHA256SUMS")
    await sums.wait()
    code, _ = await drill.restore(backup, source.environ())
    assert code != 0  # sealed again, but what comes back differs


async def test_nothing_is_restored_over_what_is_there(source: Source) -> None:
    if not (source.folder / "backups" / "dongne" / "full").exists():
        await source.run("backup.sh", "full")
    backup = drill.newest(source.folder, "dongne", "full")
    code, said = await source.run("restore.sh", backup)
    assert code == 1
    assert "not empty: nothing was touched" in said


async def test_an_unknown_kind_is_an_error_and_a_failure_leaves_nothing(source: Source) -> None:
    code, said = await source.run("backup.sh", "incremental")  # S2-100
    assert code == 2
    assert "'incremental' is none of them" in said
    code, said = await source.run(
        "backup.sh", "full", BACKUP_NAME="away", DATABASE_URL="postgresql://x:y@127.0.0.1:1/z"
    )
    assert code == 1
    assert "full: failed" in said
    assert list((source.folder / "backups" / "away" / "full").iterdir()) == []
    assert "y@" not in said


async def test_back_to_the_chosen_second(source: Source, scratch: Path) -> None:
    """A snapshot, then rows, a moment, and rows that must not come back."""
    code, said = await source.run("backup.sh", "snapshot")
    assert code == 0, said
    await source.fetch("INSERT INTO moments (said) VALUES ('before') RETURNING id")
    moment = str(await source.fetch("SELECT clock_timestamp()"))
    await asyncio.sleep(0.01)  # a commit later than the moment, by the server's own clock
    await source.fetch("INSERT INTO moments (said) VALUES ('the mistake') RETURNING id")
    await source.fetch("DELETE FROM users RETURNING 1")
    await source.fetch("SELECT pg_switch_wal()")
    await archived(source)

    restored = Postgres(scratch / "restored", durable=False)
    await restored.start()  # lays its folder; the data is then exchanged
    await restored.stop()
    data = next(restored.home.glob("data-*"))
    shutil.rmtree(data)
    shutil.copy(source.server.home / "password", restored.home / "password")
    user = account()
    code, said = await source.run(
        "restore-point.sh", drill.newest(source.folder, "dongne", "snapshot"), data, moment,
        OWNER=f"{user.uid}:{user.gid}" if user.switched else "",
    )  # fmt: skip
    assert code == 0, said
    url = await restored.start()
    try:
        await opened(url)
        assert await fetch(url, "SELECT string_agg(said, ',') FROM moments") == "before"
        assert await fetch(url, "SELECT count(*) FROM users") == 500
        assert datetime.fromisoformat(moment) >= datetime.fromisoformat(
            str(await fetch(url, "SELECT pg_last_xact_replay_timestamp()")) or moment
        )
    finally:
        await restored.stop()


async def opened(url: str) -> None:
    """Until the log is replayed: a server answers reads before, and calls itself ready."""
    async with asyncio.timeout(20):
        while await fetch(url, "SELECT pg_is_in_recovery()"):
            await asyncio.sleep(0.05)


async def archived(source: Source) -> None:
    """Until the archive has every segment that is full."""
    async with asyncio.timeout(20):
        while (
            await source.fetch(
                "SELECT last_archived_wal < pg_walfile_name(pg_current_wal_lsn() - 1)"
                " AND pg_walfile_name(pg_current_wal_lsn() - 1) <> last_archived_wal"
                " FROM pg_stat_archiver"
            )
            != "False"
        ):
            await asyncio.sleep(0.05)


async def test_the_archive_refuses_another_server(source: Source, tmp_path: Path) -> None:
    segment = tmp_path / "segment"
    segment.write_bytes(b"one")
    name = "0000000100000000000000FF"
    kept = {"BACKUP_DIR": str(tmp_path / "kept")}
    assert (await source.run("wal-archive.sh", segment, name, **kept))[0] == 0
    assert (await source.run("wal-archive.sh", segment, name, **kept))[0] == 0  # asked again
    segment.write_bytes(b"two")
    code, said = await source.run("wal-archive.sh", segment, name, **kept)
    assert code == 1
    assert "differs" in said
    assert (await source.run("wal-restore.sh", name, tmp_path / "back", **kept))[0] == 0
    assert (tmp_path / "back").read_bytes() == b"one"
    assert (await source.run("wal-restore.sh", "00000002.history", tmp_path / "none", **kept))[
        0
    ] == 1


async def test_old_ones_go_but_never_the_last(source: Source, tmp_path: Path) -> None:
    """S2-102: full 30 days, snapshots 7."""
    place = tmp_path / "backups" / "dongne" / "full"
    for days in (40, 35, 31, 29):
        when = time() - days * 86400 - 3600
        folder = place / f"{datetime.fromtimestamp(when, UTC):%Y%m%dT%H%M%SZ}"
        folder.mkdir(parents=True)
        os.utime(folder, (when, when))
    code, said = await source.run("backup.sh", "full", BACKUP_DIR=str(tmp_path))
    assert code == 0, said
    younger, made = sorted(place.iterdir())  # of 29 days, and the one just made
    shutil.rmtree(made)
    os.utime(younger, (0, 0))
    process = await asyncio.create_subprocess_shell(
        f". {source.scripts}/store.sh && prune full",
        env={**source.environ(), "BACKUP_DIR": str(tmp_path)},
        executable="/bin/bash",
    )
    assert await process.wait() == 0
    assert list(place.iterdir()) == [younger]
