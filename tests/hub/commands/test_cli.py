"""`dongne …` as an operator types it: real processes."""

import base64
import os
import re
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.plumbing.settings.settings import Settings, development_secrets
from protocol.tokens import read_access, read_service
from tests.forked import run_dongne

PROGRAM = Path(sys.executable).parent / "dongne"
ROOT = Path(__file__).parents[3]


BARE = {"PATH": os.environ["PATH"], "TERM": "dumb", "COLUMNS": "120"}


def dongne(*words: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return run_dongne(*words, env=BARE | environ, cwd=cwd)


def test_help_names_the_commands_and_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [PROGRAM, "--help"], env=BARE, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    for command in ("check-config", "secret", "token"):
        assert command in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_check_config_prints_what_is_in_force_with_secrets_hidden() -> None:
    done = dongne(
        "check-config",
        DATABASE_URL="postgresql://hub:hunter2@db:5432/hub",
        JWT_SECRET="hunter3" * 5,
        PORT="4000",
    )
    assert done.returncode == 0
    assert "hunter" not in done.stdout + done.stderr
    assert re.search(r"PORT +4000 +set", done.stdout)
    assert re.search(r"API_PORT +3003 +default", done.stdout)
    assert re.search(r"DATABASE_URL +postgresql://\*\*\*@db:5432/hub +set", done.stdout)
    assert re.search(r"JWT_SECRET +\*+ +set", done.stdout)


def test_check_config_prints_all_problems_and_exits_with_1() -> None:
    done = dongne("check-config", APP_ENV="production", PORT="x", CORS_ORIGINS="*")
    assert done.returncode == 1
    assert done.stdout == ""
    for name in ("PORT", "CORS_ORIGINS", "DATABASE_URL", "REDIS_URL", "JWT_SECRET", "LINK_SECRET"):
        assert f"  {name}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_check_config_prints_the_example() -> None:
    assert dongne("check-config", "--example").stdout == (ROOT / ".env.example").read_text()


def test_a_secret_has_32_random_bytes() -> None:
    first, second = (dongne("secret").stdout.strip() for _ in range(2))
    assert len(base64.b64decode(first, validate=True)) == 32
    assert first != second


@pytest.mark.parametrize(
    ("options", "life_s"), [((), 900), (("--ttl", "5m"), 300), (("--ttl", "7d"), 604800)]
)
def test_a_token_fits_the_hub_with_the_same_secret(options: tuple[str, ...], life_s: int) -> None:
    words = ("token", "--user", "u1", "--role", "admin", *options)
    text = dongne(*words, JWT_SECRET="j" * 32, LINK_SECRET="l" * 32).stdout.strip()
    keys = Settings.load({"JWT_SECRET": "j" * 32}, complete=False).auth.token_keys
    token = read_access(keys, text, now=datetime.now(UTC))
    assert (token.user_id, token.role) == ("u1", "admin")
    assert round(token.expires_at - token.issued_at) == life_s


def test_a_token_of_a_service_says_what_it_may() -> None:
    may = ("--scope", "events:write", "--room-prefix", "stream:", "--event-type", "user.updated")
    words = ("token", "--service", "qa", "--ttl", "5m", *may)
    text = dongne(*words, JWT_SECRET="j" * 32, LINK_SECRET="l" * 32).stdout.strip()
    keys = Settings.load({"JWT_SECRET": "j" * 32}, complete=False).auth.token_keys
    token = read_service(keys, text, now=datetime.now(UTC))
    assert (token.client_id, token.scopes) == ("qa", frozenset({"events:write"}))
    assert (token.room_prefixes, token.event_types) == (("stream:",), frozenset({"user.updated"}))


def test_a_token_of_development_uses_the_kept_secret(tmp_path: Path) -> None:
    text = dongne("token", "--user", "u1", cwd=tmp_path).stdout.strip()
    kept = development_secrets(tmp_path / ".dongne")
    keys = Settings.load(kept, complete=False).auth.token_keys
    assert read_access(keys, text, now=datetime.now(UTC)).user_id == "u1"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", ""),
        ("--user", "u", "--service", "s"),
        ("--user", "u", "--role", "king"),
        ("--user", "u", "--ttl", "soon"),
        ("--user", "u", "--ttl", "8d"),
    ],
)
def test_a_wrong_option_of_token_is_named(options: tuple[str, ...]) -> None:
    done = dongne("token", *options, JWT_SECRET="j" * 32, LINK_SECRET="l" * 32)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
