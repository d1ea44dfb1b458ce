"""What a process stands on: itself, its doors, Redis, its keys. Postgres has a file of its own.

One frozen part per reader: a part is given whole to whoever needs it (`settings.redis` to the
Redis client), so no module sees more than its own. A rule that looks at two variables hangs on the
later one, because pydantic then reports it together with every other problem.
"""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr, ValidationInfo, field_validator

from hub.plumbing.settings.parsing import (
    Address,
    Addresses,
    BaseUrl,
    Names,
    Origins,
    Part,
    Seconds,
    StrongSecret,
    by_environment,
    env,
)
from hub.plumbing.settings.redis_address import (
    CLUSTER_PREFIX,
    MASTER,
    RedisAddress,
    RedisUrl,
    cluster_prefix,
    names_cluster,
)
from protocol.names import Keys
from protocol.tokens import ALGORITHMS, LONGEST_LIFE_S, TokenKeys

LogLevel = Literal["debug", "info", "warn", "error"]


class Process(Part):
    """The process itself: who it is, what it logs, how it ends."""

    app_version: str = env("APP_VERSION", "unknown", "log field and label of build_info")
    service_name: str = env("SERVICE_NAME", "hub", "log field")
    log_level: LogLevel = env(
        "LOG_LEVEL",
        by_environment(development="debug", test="warn", staging="info", production="warn"),
        "debug, info, warn or error; development debug, test warn, staging info, production warn",
    )
    access_log: Literal["all", "errors", "off"] = env(
        "ACCESS_LOG",
        by_environment(development="all", test="errors", staging="all", production="errors"),
        "all, errors (status 500 and over, or slower than 1 s) or off; production and test errors;"
        " lines of the others are of level info",
    )
    log_format: Literal["json", "text"] = env(
        "LOG_FORMAT",
        by_environment(development="text", test="text", staging="text", production="json"),
        "json or text; production json",
    )
    shutdown_timeout_ms: int = env("SHUTDOWN_TIMEOUT", 30000, "ms for the whole stop", ge=100)
    shutdown_drain_ms: int = env(
        "SHUTDOWN_DRAIN_MS", 5000, "ms from not ready to the end of accepting; at most 1/4", ge=0
    )
    embedded_dir: Path = env(
        "EMBEDDED_DIR", ".dongne", "where `dongne up` keeps its engines and the secrets it made"
    )
    console_enabled: bool = env(
        "CONSOLE_ENABLED",
        by_environment(development=True, test=False, staging=False, production=False),
        "the page at /; `dongne up` in development only",
    )

    @field_validator("console_enabled")
    @classmethod
    def _development_only(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("app_env", "development") != "development":
            raise ValueError("is possible in development only")
        return value

    @property
    def drain_pause_s(self) -> float:
        """How long a process that is not ready any more still accepts: a proxy asks in between."""
        return min(self.shutdown_drain_ms, self.shutdown_timeout_ms / 4) / 1000


class Web(Part):
    """Doors: addresses, TLS, origins, proxies, limits of requests."""

    host: str = env(
        "HOST",
        by_environment(
            development="127.0.0.1", test="0.0.0.0", staging="0.0.0.0", production="0.0.0.0"
        ),
        "127.0.0.1 in development, 0.0.0.0 elsewhere",
    )
    port: int = env("PORT", 3001, "hub, and everything of `dongne up`; 0 = any", ge=0, le=65535)
    api_port: int = env("API_PORT", 3003, "api; 0 = any", ge=0, le=65535)
    metrics_port: int = env("METRICS_PORT", 9090, "metrics; 0 = any", ge=0, le=65535)
    tls_cert_file: Path | None = env("TLS_CERT_FILE", None, "PEM chain; with TLS_KEY_FILE")
    tls_key_file: Path | None = env("TLS_KEY_FILE", None, "PEM key; with TLS_CERT_FILE")
    cors_origins: Origins = env(
        "CORS_ORIGINS", "", "comma separated; empty: same origin; * refused in production"
    )
    csrf_enabled: bool = env(
        "CSRF_ENABLED",
        True,
        "X-CSRF-Token beside the refresh cookie; false in development and test",
    )
    trust_proxy: int = env("TRUST_PROXY", 0, "hops of proxies whose headers are believed", ge=0)
    public_base_url: BaseUrl | None = env(
        "PUBLIC_BASE_URL", None, "what links in mails begin with; https in production"
    )
    rate_window_ms: int = env("RATE_LIMIT_WINDOW_MS", 900000, "anonymous default, per IP", ge=1)
    rate_max: int = env("RATE_LIMIT_MAX", 100, "calls a window", ge=1)
    user_rate_window_ms: int = env(
        "RATE_LIMIT_USER_WINDOW_MS", 60000, "signed-in default, per person and route", ge=1
    )
    user_rate_max: int = env("RATE_LIMIT_USER_MAX", 10, "calls a window", ge=1)

    @field_validator("tls_key_file")
    @classmethod
    def _both(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_cert_file") is None):
            raise ValueError("TLS_CERT_FILE and TLS_KEY_FILE go together")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _named(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "*" in value and info.data.get("app_env") == "production":
            raise ValueError("'*' is refused in production (S5-10)")
        return value

    @field_validator("csrf_enabled")
    @classmethod
    def _guarded(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("app_env") not in ("development", "test"):
            raise ValueError("may be false in development and test only (S5-09)")
        return value

    @field_validator("public_base_url")
    @classmethod
    def _https(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("app_env") == "production" and not value.startswith("https:"):
            raise ValueError("must be https in production")
        return value


class Redis(Part):
    url: RedisUrl | None = env(
        "REDIS_URL",
        None,
        "redis://, rediss://, unix://, redis-sentinel://h:p,h:p, redis+cluster://h:p,h:p; embedded"
        " in development",
    )
    redis_host: str | None = env("REDIS_HOST", None, "parts, read when REDIS_URL is absent")
    redis_port: int = env("REDIS_PORT", 6379, "part", ge=1, le=65535)
    redis_password: SecretStr | None = env(
        "REDIS_PASSWORD", None, "part; of the Sentinels' master, too, where REDIS_URL has none"
    )
    sentinels: Addresses = env(
        "REDIS_SENTINELS", "", "host:port,host:port; with parts, redis:// or rediss://"
    )
    master_name: str = env(
        "REDIS_MASTER_NAME",
        MASTER,
        "the name the Sentinels know; ?master= in REDIS_URL is stronger",
    )
    prefix: str = env(
        "REDIS_PREFIX",
        "",
        "before our own keys; the same on every node; on a cluster with one tag, else {hub}:",
    )
    adapter_key: str = env(
        "ADAPTER_KEY", "socket.io", "names the adapter's channels; the same on every node"
    )
    events_stream: str = env(
        "EVENTS_STREAM", "events", "stream of incoming domain events; no prefix stands before it"
    )
    wait: int = env(
        "REDIS_WAIT", 0, "replicas that must have a publish before it counts as made", ge=0, le=10
    )
    classic_out: bool = env(
        "REDIS_CLASSIC_OUT",
        "false",
        "on a cluster: what we publish also goes by PUBLISH, for servers with the classic adapter",
    )
    recovery_window_s: int = env("RECOVERY_WINDOW", 120, "s a broken socket may come back", ge=1)
    recovery_events: int = env("RECOVERY_EVENTS", 1000, "events kept in one log", ge=1)
    replay_s: int = env("REDIS_REPLAY_S", 10, "s of outbox published again on a new epoch", ge=0)
    bus_lag_limit_s: float = env("BUS_LAG_LIMIT", 2, "s of bus lag that end readiness", gt=0)

    @field_validator("prefix")
    @classmethod
    def _in_one_slot(cls, value: str, info: ValidationInfo) -> str:
        url = info.data.get("url")
        if url is not None and names_cluster(url.get_secret_value()):
            return cluster_prefix(value or CLUSTER_PREFIX)
        return value

    @field_validator("sentinels")
    @classmethod
    def _go_with_the_url(
        cls, value: tuple[Address, ...], info: ValidationInfo
    ) -> tuple[Address, ...]:
        url = info.data.get("url")
        if url is not None:
            RedisAddress.of(url.get_secret_value(), value)
        return value

    @property
    def address(self) -> RedisAddress:
        """Where to connect to. Raises ValueError when neither a URL nor parts are given."""
        password = self.redis_password.get_secret_value() if self.redis_password else None
        if self.url is not None or self.sentinels:
            url = self.url.get_secret_value() if self.url else "redis://"
            found = RedisAddress.of(url, self.sentinels, self.master_name)
            found = found.holding(Keys(self.prefix).epoch)
            many = found.sentinels or found.nodes
            return found.with_password(password) if password and many else found
        if self.redis_host is None:
            raise ValueError("no address of Redis is given")
        found = RedisAddress({"host": self.redis_host, "port": self.redis_port})
        return found.with_password(password) if password else found

    @property
    def slot(self) -> str:
        """What stands before the names of our own channels on a cluster; elsewhere nothing."""
        return self.prefix if self.address.nodes else ""


class Auth(Part):
    jwt_secret: StrongSecret | None = env(
        "JWT_SECRET", None, "32+ characters; made and kept in development, needed elsewhere"
    )
    jwt_secret_previous: StrongSecret | None = env(
        "JWT_SECRET_PREVIOUS", None, "still verifies while JWT_SECRET is rotated"
    )
    access_ttl_s: Seconds = env(
        "JWT_EXPIRATION",
        "15m",
        "life of an access token; at most 7d",
        alias="JWT_EXPIRES_IN",
        le=LONGEST_LIFE_S,
    )
    refresh_ttl_s: Seconds = env("JWT_REFRESH_EXPIRATION", "7d", "life of a refresh token")
    issuer: str = env("JWT_ISSUER", "hub", "iss of our tokens")
    audience: str | None = env("JWT_AUDIENCE", None, "aud of our tokens, and of all we take")
    algorithms: Names = env(
        "JWT_ALGORITHMS", "HS256", "of access tokens we take: HS256, RS256, ES256, EdDSA"
    )
    jwks_url: BaseUrl | None = env(
        "JWT_JWKS_URL", None, "public keys for RS256, ES256, EdDSA; https but in development, test"
    )
    plain_tokens: bool = env(
        "JWT_PLAIN_TOKENS", False, "true: tokens of a backend of yours without typ, jti and our iss"
    )
    subject_claim: str = env("JWT_SUBJECT_CLAIM", "sub", "the claim that names the person")
    role_claim: str = env("JWT_ROLE_CLAIM", "role", "the claim that is admin or user")
    link_secret: StrongSecret | None = env(
        "LINK_SECRET", None, "signs links in mails; as JWT_SECRET, and another one"
    )

    expiring_lead_s: int = env(
        "AUTH_EXPIRING_LEAD", 60, "s before a token ends that its socket is told", ge=0
    )
    expired_grace_s: int = env(
        "AUTH_EXPIRED_GRACE", 30, "s after a token ended that its socket is closed", ge=0
    )

    @field_validator("jwt_secret_previous")
    @classmethod
    def _another_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and value == info.data.get("jwt_secret"):
            raise ValueError("must not be JWT_SECRET: nothing would be rotated")
        return value

    @field_validator("link_secret")
    @classmethod
    def _own_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and value == info.data.get("jwt_secret"):
            raise ValueError("must not be JWT_SECRET: rotating that one would break mails sent")
        if value is not None and value == info.data.get("jwt_secret_previous"):
            raise ValueError("must not be JWT_SECRET_PREVIOUS: who held it could sign links")
        return value

    @field_validator("algorithms")
    @classmethod
    def _known_ones(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(ALGORITHMS):
            raise ValueError(f"must be some of {', '.join(ALGORITHMS)}")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _with_algorithms(cls, value: str | None, info: ValidationInfo) -> str | None:
        public = set(info.data.get("algorithms", ())) - {"HS256"}
        if value is None and public:
            raise ValueError(f"is needed for {', '.join(sorted(public))} of JWT_ALGORITHMS")
        if value is not None and not public:
            raise ValueError("needs RS256, ES256 or EdDSA in JWT_ALGORITHMS")
        lax = info.data.get("app_env") in ("development", "test")
        if value is not None and not lax and not value.startswith("https:"):
            raise ValueError("must be https: whoever changes the keys on their way is anybody")
        return value

    @field_validator("subject_claim", "role_claim")
    @classmethod
    def _free_claim(cls, value: str, info: ValidationInfo) -> str:
        if value in ("aud", "exp", "iat", "iss", "jti", "nbf", "typ"):
            raise ValueError("must not be a claim that says something else")
        if value == info.data.get("subject_claim"):
            raise ValueError("must not be JWT_SUBJECT_CLAIM")
        return value

    @property
    def token_keys(self) -> TokenKeys:
        """Keys for protocol.tokens; the present secret signs. Raises ValueError without one."""
        if self.jwt_secret is None:
            raise ValueError("JWT_SECRET is not set")
        secrets = [self.jwt_secret, self.jwt_secret_previous]
        return TokenKeys(
            secrets=tuple(secret.get_secret_value() for secret in secrets if secret),
            issuer=self.issuer,
            audience=self.audience,
            algorithms=tuple(one for one in ALGORITHMS if one in self.algorithms),
            plain=self.plain_tokens,
            subject_claim=self.subject_claim,
            role_claim=self.role_claim,
        )
