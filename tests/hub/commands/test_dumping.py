"""A dump before a migration: whole, private, and nothing is migrated without it."""

import os
import stat
import subprocess
from pathlib import Path

from hub.commands.dumping import _program
from tests.hub.commands.test_cli import dongne


def test_a_dump_is_taken_first(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "before.dump"
    done = dongne("migrate", "up", "--dump", str(file), DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    assert "no dump was taken" not in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    restore = Path(_program()).with_name("pg_restore")
    listed = subprocess.run(
        [restore, "--list", file], capture_output=True, check=True, text=True, env={**os.environ}
    )
    assert "TABLE DATA public users" in listed.stdout


def test_without_its_dump_nothing_is_migrated(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "there.dump"
    file.write_text("kept")
    done = dongne("migrate", "down", "--dump", str(file), DATABASE_URL=database_url)
    assert (done.returncode, file.read_text()) == (1, "kept")
    assert "nothing was migrated" in done.stderr
    assert "taken back" not in done.stdout


def test_who_takes_none_is_warned(database_url: str) -> None:
    done = dongne("migrate", "down", DATABASE_URL=database_url)
    assert "taken back" in done.stdout
    assert "warning: no dump was taken" in done.stderr
    again = dongne("migrate", "up", DATABASE_URL=database_url)
    assert "warning: no dump was taken" in again.stderr
    assert "warning" not in dongne("migrate", "up", DATABASE_URL=database_url).stderr
