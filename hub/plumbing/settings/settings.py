"""Settings: read once from a mapping, checked together, frozen, shown with secrets hidden.

Only the module that assembles a process sees them whole; everything else gets its part, which
stands in `process` or `product` beside. All problems stand in one message, each naming its variable
(S1-10).
"""

import json
import os
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, get_type_hints

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from hub.plumbing.settings.database import Database
from hub.plumbing.settings.parsing import Environment, Part
from hub.plumbing.settings.process import Auth, Process, Redis, Web
from hub.plumbing.settings.product import Cached, Channels, Jobs, Questions, Retention, Sockets
from hub.plumbing.settings.redis_address import cluster_prefix, names_cluster
from hub.plumbing.settings.telemetry import Telemetry

NEEDED = (
    ("DATABASE_URL", "DB_HOST"),
    ("REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS"),
    ("JWT_SECRET",),
    ("LINK_SECRET",),
)
"""One of each row must be given, except where `dongne up` can make it (development)."""

_SAME = (("JWT_EXPIRATION", "JWT_EXPIRES_IN"),)
"""C03: two names of one thing, both given and different, are a start-up error."""


class SettingsError(Exception):
    """What is wrong with the environment: every problem at once, `NAME: sentence` a line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"The settings have {count}:\n  " + "\n  ".join(problems))


class Variable(NamedTuple):
    """One row of the table of variables; `default` is None when it depends on the environment."""

    part: str
    attribute: str
    name: str
    aliases: tuple[str, ...]
    default: str | None
    note: str
    secret: bool


@dataclass(frozen=True)
class Settings:
    """What is in force; `given` names the variables that the environment set."""

    process: Process
    web: Web
    database: Database
    redis: Redis
    auth: Auth
    sockets: Sockets
    questions: Questions
    jobs: Jobs
    retention: Retention
    cached: Cached
    channels: Channels
    telemetry: Telemetry
    given: frozenset[str]

    @property
    def environment(self) -> Environment:
        return self.process.app_env

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, *, complete: bool = True) -> "Settings":
        """Settings of `environ` (os.environ by default); an empty value counts as absent.

        `complete=False` accepts in development that database, Redis and secrets are absent, for
        `dongne up`, which makes them and loads again. Raises SettingsError.
        """
        problems: list[str] = []
        values = _with_files(os.environ if environ is None else environ, problems)
        parts: dict[str, Part] = {}
        for name, kind in _parts().items():
            try:
                parts[name] = kind.model_validate(values)
            except ValidationError as error:
                problems += _sentences(kind, error)
        problems += _conflicts(values) + _absent(values, complete)
        if problems:
            raise SettingsError(list(dict.fromkeys(problems)))
        return cls(**parts, given=frozenset(values))  # type: ignore[arg-type]

    def in_force(self) -> Iterator[tuple[Variable, str, bool]]:
        """Every variable with its value as text, secrets hidden, and whether it was given."""
        for row in variables():
            value = getattr(getattr(self, row.part), row.attribute)
            given = not self.given.isdisjoint((row.name, *row.aliases))
            yield row, _hidden(value) if isinstance(value, SecretStr) else _text(value), given

    def secrets(self) -> frozenset[str]:
        """The secret values in force, for the log's redaction."""
        parts = [getattr(self, name) for name in _parts()]
        values = [value for part in parts for _, value in part if isinstance(value, SecretStr)]
        return frozenset(value.get_secret_value() for value in values)


def _parts() -> Mapping[str, type[Part]]:
    hints = get_type_hints(Settings)
    return {item.name: hints[item.name] for item in fields(Settings) if item.name != "given"}


def _names(field: FieldInfo) -> tuple[str, ...]:
    assert isinstance(field.validation_alias, AliasChoices)
    return tuple(str(name) for name in field.validation_alias.choices)


def _sentences(kind: type[Part], error: ValidationError) -> list[str]:
    names = {attribute: _names(field)[0] for attribute, field in kind.model_fields.items()}
    return [
        f"{names.get(str(item['loc'][0]), item['loc'][0])}: "
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_context=False, include_input=False)
        if item["type"] != "default_factory_not_called"  # follows from another problem
    ]


def _with_files(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """`environ` without empty values, and with each secret whose NAME_FILE is given."""
    values = {name: value for name, value in environ.items() if value.strip()}
    for row in variables():
        path = values.get(f"{row.name}_FILE")
        if not row.secret or path is None:
            continue
        if row.name in values:
            problems.append(f"{row.name}: both {row.name} and {row.name}_FILE are given")
            continue
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{row.name}_FILE: cannot be read ({type(error).__name__})")
            text = ""
        if text:
            values[row.name] = text
        elif not problems or not problems[-1].startswith(f"{row.name}_FILE"):
            problems.append(f"{row.name}_FILE: is empty")
    return values


def _conflicts(values: Mapping[str, str]) -> list[str]:
    problems = [
        f"{name}: differs from {alias}, its other name"
        for name, alias in _SAME
        if name in values and alias in values and values[name] != values[alias]
    ]
    if names_cluster(values.get("REDIS_CACHE_URL", "")):
        problems += _in_no_slot(values)
    if "SMTP_URL" in values and "PUBLIC_BASE_URL" not in values:
        problems.append("PUBLIC_BASE_URL: is needed with SMTP_URL, for the links in mails")
    return problems


def _in_no_slot(values: Mapping[str, str]) -> list[str]:
    """A cluster for the cache alone asks the same of the prefix, which then has no default."""
    if not names_cluster(values.get("REDIS_URL", "")):
        try:
            cluster_prefix(values.get("REDIS_PREFIX", ""))
        except ValueError as error:
            return [f"REDIS_PREFIX: {error}"]
    return []


def _absent(values: Mapping[str, str], complete: bool) -> list[str]:
    environment = values.get("APP_ENV") or values.get("NODE_ENV") or "development"
    if environment == "development" and not complete:
        return []
    return [
        f"{names[0]}: is needed" + (f" (or {' or '.join(names[1:])})" if names[1:] else "")
        for names in NEEDED
        if values.keys().isdisjoint(names)
    ]


def variables() -> list[Variable]:
    """The table of variables, in the order of the parts."""
    rows: dict[str, Variable] = {}
    for part, kind in _parts().items():
        for attribute, field in kind.model_fields.items():
            name, *aliases = _names(field)
            default = None if field.default_factory else _text(field.default)
            note = field.description or ""
            secret = "SecretStr" in repr(field.annotation)
            row = Variable(part, attribute, name, tuple(aliases), default, note, secret)
            rows.setdefault(name, row)
    return list(rows.values())


def example() -> str:
    """The text of .env.example: development as it is when nothing is set."""
    lines = ["# Every variable, with its default and a note. Any secret NAME may be NAME_FILE."]
    part = ""
    for row in variables():
        if row.part != part:
            part = row.part
            lines += ["", f"# --- {part} ---"]
        also = f"; also {', '.join(row.aliases)}" if row.aliases else ""
        lines.append(f"# {row.note}{also}")
        lines.append(f"{row.name}={row.default}" if row.default else f"# {row.name}=")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is tuple:
        return ",".join(map(str, value))
    return str(value)


def _hidden(value: SecretStr) -> str:
    """A URL without who signs in; any other secret as asterisks."""
    scheme, mark, rest = value.get_secret_value().partition("://")
    if not mark:
        return "********"
    who, at, where = rest.partition("?")[0].rpartition("@")
    return f"{scheme}://{'***' if who else ''}{at}{where}"


def development_secrets(directory: Path) -> Mapping[str, str]:
    """JWT_SECRET and LINK_SECRET kept under EMBEDDED_DIR, made at the first call (mode 0600).

    Processes that start together agree: who comes second reads what the first one wrote.
    Raises SettingsError when the file there is not ours.
    """
    path = directory / "secrets.json"
    directory.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_once(path, {name: new_secret() for name in ("JWT_SECRET", "LINK_SECRET")})
    try:
        kept = json.loads(path.read_bytes())
        return MappingProxyType({name: str(kept[name]) for name in ("JWT_SECRET", "LINK_SECRET")})
    except (OSError, ValueError, TypeError, KeyError):
        raise SettingsError([f"EMBEDDED_DIR: {path.name} in it cannot be read"]) from None


def with_development_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ`, in development with the kept secrets where it gives none. Raises SettingsError."""
    settings = Settings.load(environ, complete=False)
    if settings.environment != "development" or {"JWT_SECRET", "LINK_SECRET"} <= settings.given:
        return dict(environ)
    kept = development_secrets(settings.process.embedded_dir)
    return {**environ, **{name: kept[name] for name in kept.keys() - settings.given}}


def _write_once(path: Path, content: Mapping[str, str]) -> None:
    own = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    finally:
        own.unlink()


def new_secret() -> str:
    """32 random bytes in base64 (S5-08)."""
    return b64encode(secrets.token_bytes(32)).decode()
