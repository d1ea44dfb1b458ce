"""Texts of the environment as values: durations, waves, addresses, secrets; and what a part is.

Each rule raises ValueError with a sentence that never repeats what it was given: it may be secret.
"""

import json
import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)

from protocol.origins import parse_origin
from protocol.web_push import read_vapid_key

Environment = Literal["development", "test", "staging", "production"]
ENVIRONMENTS: tuple[str, ...] = ("development", "test", "staging", "production")

MIN_SECRET_CHARS = 32
"""S1-46, C04: enforced in every environment."""

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Wave(NamedTuple):
    """One widening of an urgent question: seconds after it was asked; metres, None the region."""

    after_s: int
    radius_m: int | None

    def __str__(self) -> str:
        return f"{self.after_s}:{'region' if self.radius_m is None else self.radius_m}"


class PerAsker(NamedTuple):
    """Urgent questions of one person: open at once, and asked in a day."""

    open: int
    a_day: int

    def __str__(self) -> str:
        return f"{self.open}:{self.a_day}"


class PerPerson(NamedTuple):
    """How often urgent questions wake one person: in a day, and seconds between two pushes."""

    a_day: int
    pause_s: int

    def __str__(self) -> str:
        return f"{self.a_day}:{self.pause_s}"


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_addresses(text: str, default_port: int = 26379) -> tuple[Address, ...]:
    """`host`, `host:port` or `[v6]:port`, comma separated. Raises ValueError."""
    return tuple(_address(item, default_port) for item in items(text))


def _address(text: str, default_port: int) -> Address:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.netloc == text and parts.username is None:
            return Address(parts.hostname, parts.port or default_port)
    except ValueError:  # its sentence repeats the text
        pass
    raise ValueError("must be host:port,host:port")


def items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def parse_duration(text: str) -> int:
    """Seconds of `900`, `15m` or `7d`. Raises ValueError."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text.strip())
    if match is None:
        raise ValueError("must be seconds, or a number with s, m, h or d (15m, 7d)")
    return int(match[1]) * _UNITS_S[match[2]]


def _waves(text: str) -> tuple[Wave, ...]:
    pairs = [re.fullmatch(r"(\d+):(\d+|region)", item) for item in items(text)]
    if not pairs or None in pairs:
        raise ValueError("must be seconds:metres,seconds:metres; the last radius may be 'region'")
    waves = tuple(
        Wave(int(pair[1]), None if pair[2] == "region" else int(pair[2])) for pair in pairs if pair
    )
    reach = [float("inf") if wave.radius_m is None else wave.radius_m for wave in waves]
    starts = [wave.after_s for wave in waves]
    if starts != sorted(set(starts)) or reach != sorted(set(reach)) or reach[0] <= 0:
        raise ValueError("each wave must start later and reach farther than the one before")
    return waves


def _per_asker(text: str) -> PerAsker:
    return PerAsker(*_two_figures(text, "open:a-day, as 1:3"))


def _per_person(text: str) -> PerPerson:
    return PerPerson(*_two_figures(text, "a-day:seconds, as 6:600"))


def _two_figures(text: str, form: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text.strip())
    if match is None:
        raise ValueError(f"must be {form}")
    return int(match[1]), int(match[2])


def _origins(text: str) -> tuple[str, ...]:
    for origin in items(text):
        if origin != "*" and parse_origin(origin) is None:
            raise ValueError("must be origins as https://app.example.com, without a path")
    return items(text)


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.username:
        raise ValueError("must be a URL with http or https")
    return text.rstrip("/")


def _networks(text: str) -> tuple[str, ...]:
    for item in items(text):
        try:
            ip_network(item)
        except ValueError:
            raise ValueError("must be addresses or networks, as 127.0.0.1,10.0.0.0/8") from None
    return items(text)


def _vapid_key(value: SecretStr) -> SecretStr:
    read_vapid_key(value.get_secret_value())
    return value


def _contact(text: str) -> str:
    if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+|https://\S+", text):
        raise ValueError("must be mailto:somebody@example.org or a URL with https")
    return text


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone, as Asia/Seoul") from None
    return text


def _cron(text: str) -> str:
    """Five fields; what they mean is the scheduler's to read."""
    if not re.fullmatch(r"[\d*/,A-Za-z-]+( [\d*/,A-Za-z-]+){4}", text):
        raise ValueError("must be five fields of cron, as 0 9 * * *")
    return text


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < MIN_SECRET_CHARS:
        raise ValueError(f"must have at least {MIN_SECRET_CHARS} characters (dongne secret)")
    return value


class ShardRow(NamedTuple):
    """A region with a database of its own; one that is not active is as if it were not named."""

    url: str
    active: bool = True


def parse_shards(text: str) -> dict[str, ShardRow]:
    """Region → its row. Raises ValueError."""
    form = 'must be JSON as {"busan": {"url": "postgresql://…", "active": true}}'
    try:
        told = json.loads(text)
        rows = {region: ShardRow(**row) for region, row in told.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError(form) from None
    for region, row in rows.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", region) or type(row.active) is not bool:
            raise ValueError(form)
        if region == "default":
            raise ValueError("names no `default`: that is DEFAULT_REGION's to say")
        if not isinstance(row.url, str) or database_of(row.url) is None:
            raise ValueError("must hold URLs that begin with postgresql:// and name a database")
    return rows


def database_of(url: str) -> tuple[str, int, str] | None:
    """Host, port and name of the database that a URL names; None for one that names none."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        return None
    name = parts.path.removeprefix("/")
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not name:
        return None
    return parts.hostname, port, name


def _shards(value: SecretStr) -> SecretStr:
    parse_shards(value.get_secret_value())
    return value


def _with_scheme(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    def check(value: SecretStr) -> SecretStr:
        if value.get_secret_value().partition("://")[0] not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{name}://' for name in schemes)}")
        return value

    return check


def _each_postgres(value: SecretStr) -> SecretStr:
    for url in items(value.get_secret_value()):
        if url.partition("://")[0] not in ("postgresql", "postgres"):
            raise ValueError("must be URLs that begin with postgresql://, comma separated")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(items)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_networks)]
VapidKey = Annotated[SecretStr, AfterValidator(_vapid_key)]
Contact = Annotated[str, AfterValidator(_contact)]
Seconds = Annotated[int, BeforeValidator(parse_duration), Field(ge=1)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(parse_addresses)]
Waves = Annotated[tuple[Wave, ...], BeforeValidator(_waves)]
PerAskerLimit = Annotated[PerAsker, BeforeValidator(_per_asker)]
PerPersonLimit = Annotated[PerPerson, BeforeValidator(_per_person)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_origins)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Cron = Annotated[str, AfterValidator(_cron)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
StrongSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_with_scheme("postgresql", "postgres"))]
PostgresUrls = Annotated[SecretStr, AfterValidator(_each_postgres)]
ShardUrls = Annotated[SecretStr, AfterValidator(_shards)]
SmtpUrl = Annotated[SecretStr, AfterValidator(_with_scheme("smtp", "smtps"))]


def env(name: str, default: object, note: str, *, alias: str | None = None, **rules: Any) -> Any:
    """One variable; `default` as it would be written in the environment, or by environment."""
    names = AliasChoices(name, alias) if alias else AliasChoices(name)
    if callable(default):
        return Field(default_factory=default, validation_alias=names, description=note, **rules)
    return Field(default, validation_alias=names, description=note, **rules)


def by_environment(
    *, development: object, test: object, staging: object, production: object
) -> Callable[[dict[str, Any]], object]:
    values = dict(zip(ENVIRONMENTS, (development, test, staging, production), strict=True))
    return lambda data: values[data["app_env"]]


class Part(BaseModel):
    """Made of an environment: what stands in it beside its own variables is nothing to a part."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        loc_by_alias=False,
        validate_default=True,
        hide_input_in_errors=True,
    )

    app_env: Environment = env(
        "APP_ENV", "development", "development, test, staging or production", alias="NODE_ENV"
    )

    @field_validator("app_env", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if value not in ENVIRONMENTS:
            raise ValueError(f"Invalid environment: {value}")  # S2-156
        return value
