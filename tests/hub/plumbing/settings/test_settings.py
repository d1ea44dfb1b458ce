import ast
import json
import re
import shlex
import subprocess
from collections import Counter
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hub.domain.context import Policy
from hub.plumbing.settings.settings import (
    Settings,
    SettingsError,
    example,
    variables,
)

ROOT = Path(__file__).parents[4]
SECRET = "a" * 32
OTHER = "b" * 32
VAPID_KEY = "A" * 42 + "E"
WHOLE = {
    "DATABASE_URL": "postgresql://u:pw@db/hub",
    "REDIS_URL": "redis://r",
    "JWT_SECRET": SECRET,
    "LINK_SECRET": OTHER,
}


def load(**environ: str) -> Settings:
    return Settings.load({**WHOLE, **environ})


def problems(environ: dict[str, str], *, complete: bool = True) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ, complete=complete)
    return caught.value.problems


def names(found: list[str]) -> set[str]:
    return {line.partition(":")[0] for line in found}


def test_every_problem_stands_in_one_message() -> None:
    found = problems(
        {
            "APP_ENV": "production",
            "PORT": "x",
            "DB_POOL_MAX": "51",
            "CORS_ORIGINS": "https://a.kr,*",
            "JWT_SECRET": "short",
            "URGENT_WAVES": "0:5000,180:2000",
            "SMTP_URL": "http://mail",
            "OUTBOUND_ALLOW": "10.0.0.1",
            "CONSOLE_ENABLED": "true",
        }
    )
    assert names(found) == {
        "PORT", "DB_POOL_MAX", "CORS_ORIGINS", "JWT_SECRET", "URGENT_WAVES", "SMTP_URL",
        "OUTBOUND_ALLOW", "CONSOLE_ENABLED", "PUBLIC_BASE_URL", "DATABASE_URL", "REDIS_URL",
        "LINK_SECRET",
    }  # fmt: skip
    assert len(found) == 12
    assert str(SettingsError(found)).count("\n") == 12


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"NODE_ENV": "prod"}, "APP_ENV"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"METRICS_PORT": "65536"}, "METRICS_PORT"),
        ({"PORT": "-1"}, "PORT"),
        ({"TLS_CERT_FILE": "a.pem"}, "TLS_KEY_FILE"),
        ({"TLS_KEY_FILE": "a.pem"}, "TLS_KEY_FILE"),
        ({"CORS_ORIGINS": "app.example.com"}, "CORS_ORIGINS"),
        ({"CORS_ORIGINS": "https://a.kr/path"}, "CORS_ORIGINS"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"DB_POOL_MIN": "9"}, "DB_POOL_MAX"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL"),
        ({"REDIS_SENTINELS": "a:b"}, "REDIS_SENTINELS"),
        ({"JWT_SECRET": "a" * 31}, "JWT_SECRET"),
        ({"LINK_SECRET": SECRET}, "LINK_SECRET"),
        ({"JWT_EXPIRATION": "15 minutes"}, "JWT_EXPIRATION"),
        ({"JWT_EXPIRATION": "0"}, "JWT_EXPIRATION"),
        ({"JWT_EXPIRATION": "8d"}, "JWT_EXPIRATION"),
        ({"JWT_SECRET_PREVIOUS": SECRET}, "JWT_SECRET_PREVIOUS"),
        ({"JWT_SECRET_PREVIOUS": OTHER}, "LINK_SECRET"),
        ({"JWT_EXPIRATION": "15m", "JWT_EXPIRES_IN": "5m"}, "JWT_EXPIRATION"),
        ({"JWT_ALGORITHMS": "none"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "HS256,HS512"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "HS256,RS256"}, "JWT_JWKS_URL"),
        ({"JWT_JWKS_URL": "https://id.example.com/keys"}, "JWT_JWKS_URL"),
        (
            {"APP_ENV": "staging", "JWT_ALGORITHMS": "RS256", "JWT_JWKS_URL": "http://id.kr"},
            "JWT_JWKS_URL",
        ),
        ({"JWT_SUBJECT_CLAIM": "jti"}, "JWT_SUBJECT_CLAIM"),
        ({"JWT_SUBJECT_CLAIM": "role"}, "JWT_ROLE_CLAIM"),
        ({"SOCKET_TRANSPORTS": "carrier-pigeon"}, "SOCKET_TRANSPORTS"),
        ({"HUB_PROCESSES": "2"}, "HUB_PROCESSES"),
        ({"PRESENCE_TTL": "85"}, "PRESENCE_TTL"),
        ({"BACKLOG_HIGH": "65536"}, "BACKLOG_HIGH"),
        ({"URGENT_WAVES": "0:2000,600:region"}, "URGENT_WAVES"),
        ({"URGENT_WAVES": "0:region,180:5000"}, "URGENT_WAVES"),
        ({"URGENT_WAVES": ","}, "URGENT_WAVES"),
        ({"URGENT_PER_ASKER": "1"}, "URGENT_PER_ASKER"),
        ({"URGENT_PER_PERSON": "6"}, "URGENT_PER_PERSON"),
        ({"RETRY_MAX_DELAY": "999"}, "RETRY_MAX_DELAY"),
        ({"SCHEDULER_TZ": "Jeju/Island"}, "SCHEDULER_TZ"),
        ({"SCHEDULER_TZ": "../../etc/passwd"}, "SCHEDULER_TZ"),
        ({"PUBLIC_BASE_URL": "hub.example"}, "PUBLIC_BASE_URL"),
        ({"APP_ENV": "production", "PUBLIC_BASE_URL": "http://h.kr"}, "PUBLIC_BASE_URL"),
        ({"SMTP_URL": "smtp://m", "PUBLIC_BASE_URL": "https://h.kr"}, "MAIL_FROM"),
        ({"VAPID_PRIVATE_KEY": "x", "VAPID_SUBJECT": "mailto:a@b.kr"}, "VAPID_PRIVATE_KEY"),
        ({"VAPID_PRIVATE_KEY": VAPID_KEY}, "VAPID_SUBJECT"),
        ({"VAPID_SUBJECT": "people@b.kr"}, "VAPID_SUBJECT"),
        ({"KAKAO_MESSAGE_URL": "https://k.kr/send"}, "KAKAO_MESSAGE_TOKEN"),
        ({"OUTBOUND_ALLOW": "localhost"}, "OUTBOUND_ALLOW"),
        ({"APP_ENV": "production", "OUTBOUND_ALLOW": "10.0.0.0/8"}, "OUTBOUND_ALLOW"),
        ({"QUEUE_EMAIL_RATE": "0"}, "QUEUE_EMAIL_RATE"),
        ({"QA_API_ENABLED": "perhaps"}, "QA_API_ENABLED"),
    ],
)
def test_one_wrong_value_is_named(environ: dict[str, str], name: str) -> None:
    assert names(problems({**WHOLE, **environ})) == {name}


def test_a_key_for_apns_needs_what_belongs_to_it() -> None:
    needed = {"APNS_KEY_ID", "APNS_TEAM_ID", "APNS_TOPIC"}
    assert names(problems({**WHOLE, "APNS_KEY_FILE": "/run/key.p8"})) == needed


def test_a_problem_never_repeats_a_secret() -> None:
    secrets = {
        "JWT_SECRET": "tiny",
        "DATABASE_URL": "http://u:hunter2@h",
        "VAPID_PRIVATE_KEY": "wee",
    }
    text = "\n".join(problems(secrets))
    assert "tiny" not in text
    assert "wee" not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("environment", "host", "level", "access", "form", "ssl", "pool"),
    [
        ("development", "127.0.0.1", "debug", "all", "text", False, (2, 5)),
        ("test", "0.0.0.0", "warn", "errors", "text", False, (5, 5)),
        ("staging", "0.0.0.0", "info", "all", "text", True, (5, 10)),
        ("production", "0.0.0.0", "warn", "errors", "json", True, (5, 20)),
    ],
)
def test_defaults_follow_the_environment(
    environment: str,
    host: str,
    level: str,
    access: str,
    form: str,
    ssl: bool,
    pool: tuple[int, int],
) -> None:
    settings = load(APP_ENV=environment)
    assert settings.environment == environment
    assert settings.web.host == host
    assert settings.process.log_level == level
    assert settings.process.access_log == access
    assert settings.process.log_format == form
    assert settings.database.ssl is ssl
    assert (settings.database.pool_min, settings.database.pool_max) == pool
    assert settings.process.console_enabled is (environment == "development")


def test_what_is_set_wins_over_the_environment() -> None:
    settings = load(APP_ENV="production", LOG_LEVEL="debug", HOST="10.0.0.1", DATABASE_SSL="false")
    assert settings.process.log_level == "debug"
    assert settings.web.host == "10.0.0.1"
    assert settings.database.ssl is False


def test_aliases_are_read_and_the_own_name_wins() -> None:
    assert load(NODE_ENV="staging").environment == "staging"
    assert load(NODE_ENV="production", APP_ENV="staging").environment == "staging"
    assert load(JWT_EXPIRES_IN="5m").auth.access_ttl_s == 300


def test_durations_waves_and_lists_are_values() -> None:
    settings = load(CORS_ORIGINS="https://a.kr, http://b.kr:8080")
    assert settings.auth.access_ttl_s == 900
    assert settings.auth.refresh_ttl_s == 7 * 86400
    assert settings.questions.urgent_waves == ((0, 2000), (180, 5000), (420, None))
    assert settings.questions.urgent_per_asker == (1, 3)
    assert settings.web.cors_origins == ("https://a.kr", "http://b.kr:8080")
    assert settings.sockets.transports == ("websocket", "polling")
    assert load(REDIS_SENTINELS="a:1,[::1]:2,c").redis.sentinels == (
        ("a", 1), ("::1", 2), ("c", 26379),
    )  # fmt: skip


def test_an_empty_value_counts_as_absent() -> None:
    assert load(PORT="", DB_POOL_MAX=" ").web.port == 3001
    assert names(problems({**WHOLE, "JWT_SECRET": ""})) == {"JWT_SECRET"}


def test_a_wildcard_origin_is_refused_in_production_only() -> None:
    assert load(APP_ENV="staging", CORS_ORIGINS="*").web.cors_origins == ("*",)
    assert names(problems({**WHOLE, "APP_ENV": "production", "CORS_ORIGINS": "*"})) == {
        "CORS_ORIGINS"
    }


def test_parts_make_an_address_when_the_url_is_absent() -> None:
    parts = {"DB_HOST": "h", "DB_NAME": "n", "DB_USER": "u@x", "DB_PASSWORD": "p/w"}
    absent = {**WHOLE, "DATABASE_URL": ""}
    assert Settings.load({**absent, **parts}).database.dsn == "postgresql://u%40x:p%2Fw@h:5432/n"
    assert load(**parts).database.dsn == WHOLE["DATABASE_URL"]
    assert names(problems({**absent, "DB_HOST": "h"})) == {"DB_PASSWORD"}


def test_the_direct_url_falls_back_to_the_url() -> None:
    assert load().database.direct_dsn == WHOLE["DATABASE_URL"]
    direct = load(DATABASE_DIRECT_URL="postgresql://direct/hub").database
    assert direct.direct_dsn == "postgresql://direct/hub"


def test_only_development_can_do_without_urls_and_secrets() -> None:
    assert Settings.load({}, complete=False).database.dsn is None
    everything = {"DATABASE_URL", "REDIS_URL", "JWT_SECRET", "LINK_SECRET"}
    assert names(problems({})) == everything
    for environment in ("test", "staging", "production"):
        assert names(problems({"APP_ENV": environment}, complete=False)) == everything


def test_settings_are_frozen() -> None:
    settings = load()
    with pytest.raises(FrozenInstanceError):
        settings.web = settings.web  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.web.port = 1


def test_secrets_are_hidden_wherever_settings_are_shown() -> None:
    settings = load(
        DATABASE_URL="postgresql://u:hunter2@db:5432/hub?password=hunter3",
        REDIS_URL="redis-sentinel://:hunter4@a:1,b:2/0",
        JWT_SECRET_PREVIOUS="hunter5" * 5,
    )
    shown = {row.name: value for row, value, _ in settings.in_force()}
    text = repr(settings) + repr(shown)
    assert not re.search(r"hunter|aaaa|bbbb", text)
    assert shown["DATABASE_URL"] == "postgresql://***@db:5432/hub"
    assert shown["REDIS_URL"] == "redis-sentinel://***@a:1,b:2/0"
    assert shown["JWT_SECRET"] == "********"
    assert shown["URGENT_WAVES"] == "0:2000,180:5000,420:region"


def test_token_keys_sign_with_the_present_secret_and_verify_with_both() -> None:
    keys = load(JWT_SECRET_PREVIOUS="c" * 32).auth.token_keys
    assert keys.secrets == (SECRET, "c" * 32)
    assert keys.issuer == "hub"
    assert keys.algorithms == ("HS256",)
    assert not keys.plain


def test_token_keys_say_what_is_asked_of_tokens() -> None:
    keys = load(
        JWT_ALGORITHMS="ES256, RS256,ES256",
        JWT_JWKS_URL="https://id.example.com/keys",
        JWT_AUDIENCE="dongne",
        JWT_PLAIN_TOKENS="true",
        JWT_SUBJECT_CLAIM="user_id",
        JWT_ROLE_CLAIM="group",
    ).auth.token_keys
    assert keys.algorithms == ("RS256", "ES256")
    assert (keys.audience, keys.plain) == ("dongne", True)
    assert (keys.subject_claim, keys.role_claim) == ("user_id", "group")


# .env.example


def parse_example() -> dict[str, str | None]:
    """Variable → its value; None where the line is commented out."""
    found: dict[str, str | None] = {}
    for line in (ROOT / ".env.example").read_text().splitlines():
        match = re.fullmatch(r"(# )?([A-Z][A-Z0-9_]*)=(.*)", line)
        if match:
            assert match[2] not in found, f"{match[2]} stands there twice"
            found[match[2]] = None if match[1] else match[3]
    return found


def test_the_example_holds_every_variable_with_its_default_and_a_note() -> None:
    assert parse_example() == {row.name: row.default or None for row in variables()}
    assert all(row.note for row in variables())
    assert (ROOT / ".env.example").read_text() == example()


def test_the_example_in_force_is_the_same_as_nothing() -> None:
    script = f"set -a; . {shlex.quote(str(ROOT / '.env.example'))}; env -0"
    output = subprocess.run(
        ["env", "-i", "/bin/sh", "-c", script], capture_output=True, check=True, text=True
    ).stdout
    sourced = dict(item.split("=", 1) for item in output.split("\0") if item)
    assert len(sourced) > 60
    with_example = Settings.load(sourced, complete=False)
    without = Settings.load({}, complete=False)
    values = {row.name: value for row, value, _ in with_example.in_force()}
    assert values == {row.name: value for row, value, _ in without.in_force()}


def attributes_read() -> Counter[str]:
    """How often the product's code reads an attribute of each name."""
    files = [path for row in ("hub", "api", "workers") for path in (ROOT / row).rglob("*.py")]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return Counter(
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


@pytest.mark.fault(18)
def test_every_variable_is_read_by_somebody(record_property: Any) -> None:
    read = attributes_read()
    assert {row.name for row in variables() if not read[row.attribute]} == set()
    record_property("seen", f"{len(variables())} variables, each read")


@pytest.mark.fault(18)
def test_every_figure_of_the_policy_has_a_reader() -> None:
    """A setting that ends in a figure nobody looks at is read by nobody, too."""
    read = attributes_read()
    assert [item.name for item in fields(Policy) if not read[item.name]] == []


BY_ENVIRONMENT = {  # the table's words; the values themselves are tested above
    "LOG_LEVEL": "by environment",
    "ACCESS_LOG": "by environment",
    "LOG_FORMAT": "by environment",
    "CONSOLE_ENABLED": "by environment",
    "DATABASE_SSL": "by environment",
    "HOST": "127.0.0.1 in development and 0.0.0.0 elsewhere",
    "DB_POOL_MIN": "2 or 5",
    "DB_POOL_MAX": "5/10/20",
    "DB_LOG_QUERIES": "true in development",
    "TRACING_ENABLED": "by environment",
}
FALLS_BACK = {"DATABASE_DIRECT_URL": "DATABASE_URL", "REDIS_CACHE_URL": "same as REDIS_URL"}
OPENTELEMETRYS = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"}
"""Of its specification, "OTLP Exporter Configuration": whoever runs a collector sets them."""

IN_WORDS = {"WEBPUSH_HOSTS": "the browsers' push services"}


def test_names_and_defaults_are_those_of_the_contract() -> None:
    file = ROOT / "tests" / "contracts" / "contract.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["configuration"]
    contract = {row["name"]: row["default"] or "" for row in rows}
    ours = {row.name: row.default for row in variables()}
    assert ours.keys() - contract.keys() == OPENTELEMETRYS
    assert {name for name, default in ours.items() if default is None} == BY_ENVIRONMENT.keys()
    expected = {name: contract.get(name, "") for name in ours}
    assert {**ours, **BY_ENVIRONMENT, **FALLS_BACK, **IN_WORDS} == expected


def test_aliases_are_those_of_the_contract() -> None:
    file = ROOT / "tests" / "contracts" / "contract.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["configuration"]
    named = {row["name"]: (row["alias"],) for row in rows if row["alias"]}
    ours = {row.name: row.aliases for row in variables() if row.aliases}
    assert ours == named | {"JWT_EXPIRATION": ("JWT_EXPIRES_IN",)}  # C03, in the table's note


# Secrets of development
