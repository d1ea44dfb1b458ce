"""Secrets: each may come from a file; those of development are made once and kept private."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.plumbing.settings.settings import (
    Settings,
    SettingsError,
    development_secrets,
    new_secret,
    variables,
    with_development_secrets,
)
from tests.hub.plumbing.settings.test_settings import SECRET, VAPID_KEY, WHOLE, names, problems


def test_development_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    directory = tmp_path / "new" / ".dongne"
    first = development_secrets(directory)
    assert development_secrets(directory) == first
    assert stat.S_IMODE((directory / "secrets.json").stat().st_mode) == 0o600
    assert [file.name for file in directory.iterdir()] == ["secrets.json"]
    settings = Settings.load({**first, "EMBEDDED_DIR": str(directory)}, complete=False)
    assert settings.auth.token_keys.secrets == (first["JWT_SECRET"],)


def test_processes_that_start_together_agree_on_the_secrets(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: dict(development_secrets(tmp_path)), range(32)))
    assert all(one == made[0] for one in made)


def test_a_spoilt_secrets_file_is_a_problem_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"JWT_SECRET": "x"}')
    with pytest.raises(SettingsError, match="EMBEDDED_DIR"):
        development_secrets(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == '{"JWT_SECRET": "x"}'


def test_kept_secrets_fill_only_what_development_lacks(tmp_path: Path) -> None:
    filled = with_development_secrets({"EMBEDDED_DIR": str(tmp_path), "JWT_SECRET": SECRET})
    assert filled["JWT_SECRET"] == SECRET
    assert filled["LINK_SECRET"] == development_secrets(tmp_path)["LINK_SECRET"]
    untouched = {**WHOLE, "APP_ENV": "production", "EMBEDDED_DIR": str(tmp_path / "p")}
    assert with_development_secrets(untouched) == untouched
    assert not os.path.exists(tmp_path / "p")


def test_a_new_secret_is_32_random_bytes_in_base64() -> None:
    assert len(new_secret()) == 44
    assert new_secret() != new_secret()


@pytest.mark.parametrize("name", [row.name for row in variables() if row.secret])
def test_any_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    values = {
        "DATABASE_URL": "postgres://file/x",
        "DATABASE_DIRECT_URL": "postgres://file/y",
        "DATABASE_REPLICA_URLS": "postgres://file/r,postgres://file/s",
        "REDIS_URL": "redis://file",
        "REDIS_CACHE_URL": "redis://file/1",
        "SMTP_URL": "smtp://file",
        "VAPID_PRIVATE_KEY": VAPID_KEY,
        "DB_SHARDS": '{"busan": {"url": "postgres://file/busan"}}',
        "SENTRY_DSN": "https://key@sentry.example.org/7",
    }
    value = values.get(name, "from-a-mounted-file-with-32-chars-or-more")
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    environ = {
        **WHOLE,
        "MAIL_FROM": "hub@h.kr",
        "PUBLIC_BASE_URL": "https://h.kr",
        "VAPID_SUBJECT": "mailto:a@h.kr",
    }
    environ.pop(name, None)
    settings = Settings.load({**environ, f"{name}_FILE": str(file)})
    assert value in settings.secrets()
    assert name in settings.given


def test_a_file_that_is_missing_empty_or_rivalled_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    without = {name: value for name, value in WHOLE.items() if name != "JWT_SECRET"}
    for file in ("missing", "empty", "binary"):
        found = problems({**without, "JWT_SECRET_FILE": str(tmp_path / file)})
        assert "JWT_SECRET_FILE" in names(found), file
    (tmp_path / "good").write_text(SECRET)
    found = problems({**WHOLE, "JWT_SECRET_FILE": str(tmp_path / "good")})
    assert found == ["JWT_SECRET: both JWT_SECRET and JWT_SECRET_FILE are given"]
