"""Where Postgres is: ours, its replicas, and the databases of other regions; and how it is used."""

from urllib.parse import quote

from pydantic import SecretStr, ValidationInfo, field_validator

from hub.plumbing.settings.parsing import (
    Address,
    Part,
    PostgresUrl,
    PostgresUrls,
    ShardUrls,
    by_environment,
    database_of,
    env,
    items,
    parse_shards,
)


class Database(Part):
    url: PostgresUrl | None = env(
        "DATABASE_URL", None, "postgresql://…; embedded in development, needed elsewhere"
    )
    db_host: str | None = env("DB_HOST", None, "parts, read when DATABASE_URL is absent")
    db_port: int = env("DB_PORT", 5432, "part", ge=1, le=65535)
    db_name: str | None = env("DB_NAME", None, "part")
    db_user: str | None = env("DB_USER", None, "part")
    db_password: SecretStr | None = env("DB_PASSWORD", None, "part")
    ssl: bool = env(
        "DATABASE_SSL",
        by_environment(development=False, test=False, staging=True, production=True),
        "certificate and host verified; true in staging and production; sslmode and sslrootcert in"
        " the URL say more",
    )
    direct_url: PostgresUrl | None = env(
        "DATABASE_DIRECT_URL", None, "session for LISTEN, locks, migrations; else DATABASE_URL"
    )
    statement_cache: int = env(
        "DB_STATEMENT_CACHE", 100, "prepared statements; 0 behind a transaction pooler", ge=0
    )
    pool_min: int = env(
        "DB_POOL_MIN",
        by_environment(development=2, test=5, staging=5, production=5),
        "2 in development, 5 elsewhere",
        ge=0,
    )
    pool_max: int = env(
        "DB_POOL_MAX",
        by_environment(development=5, test=5, staging=10, production=20),
        "development and test 5, staging 10, production 20; at most 50",
        ge=1,
        le=50,
    )
    pool_idle_timeout_ms: int = env("DB_POOL_IDLE_TIMEOUT", 30000, "ms", ge=1)
    connect_timeout_ms: int = env("DB_CONNECT_TIMEOUT", 2000, "ms", ge=1)
    statement_timeout_ms: int = env("DB_STATEMENT_TIMEOUT", 30000, "ms", ge=1)
    log_queries: bool = env(
        "DB_LOG_QUERIES",
        by_environment(development=True, test=False, staging=False, production=False),
        "true in development; at level debug, without values",
    )
    replica_urls: PostgresUrls | None = env(
        "DATABASE_REPLICA_URLS", None, "comma separated; for reads that may lag"
    )
    replica_pool_min: int = env("DB_REPLICA_POOL_MIN", 3, "of each replica", ge=0)
    replica_pool_max: int = env("DB_REPLICA_POOL_MAX", 30, "of each replica", ge=1)
    replica_idle_timeout_ms: int = env("DB_REPLICA_IDLE_TIMEOUT", 60000, "ms", ge=1)
    replica_statement_timeout_ms: int = env("DB_REPLICA_STATEMENT_TIMEOUT", 15000, "ms", ge=1)
    shards: ShardUrls | None = env(
        "DB_SHARDS",
        None,
        'JSON: {"busan": {"url": "postgresql://…", "active": true}}: regions with a database of'
        " their own; the same text everywhere, ours is the one of DATABASE_URL",
    )
    default_region: str = env(
        "DEFAULT_REGION", "jeju", "its database holds what no region of DB_SHARDS does"
    )

    @field_validator("default_region")
    @classmethod
    def _held(cls, value: str, info: ValidationInfo) -> str:
        text = info.data.get("shards")
        row = parse_shards(text.get_secret_value()).get(value) if text else None
        if row is not None and not row.active:
            raise ValueError("must be active in DB_SHARDS")
        return value

    @field_validator("db_password")
    @classmethod
    def _whole(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("url") is None and info.data.get("db_host"):
            parts = {"DB_NAME": info.data.get("db_name"), "DB_USER": info.data.get("db_user")}
            absent = [name for name, part in (parts | {"DB_PASSWORD": value}).items() if not part]
            if absent:
                raise ValueError(f"DB_HOST needs {', '.join(absent)}, too")
        return value

    @field_validator("pool_max")
    @classmethod
    def _room(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("pool_min", 0):
            raise ValueError("must not be under DB_POOL_MIN")
        return value

    @field_validator("replica_pool_max")
    @classmethod
    def _replica_room(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("replica_pool_min", 0):
            raise ValueError("must not be under DB_REPLICA_POOL_MIN")
        return value

    @property
    def shard_urls(self) -> dict[str, str]:
        """Active regions that another database holds, and its URL; who has ours is not there."""
        rows = parse_shards(self.shards.get_secret_value()) if self.shards else {}
        ours = None if self.dsn is None else database_of(self.dsn)
        return {
            region: row.url
            for region, row in rows.items()
            if row.active and database_of(row.url) != ours
        }

    @property
    def replica_dsns(self) -> tuple[str, ...]:
        """URLs of the replicas, with their passwords."""
        return items(self.replica_urls.get_secret_value()) if self.replica_urls else ()

    @property
    def dsn(self) -> str | None:
        """URL to connect to, with its password; None when neither URL nor parts are given."""
        if self.url is not None:
            return self.url.get_secret_value()
        if self.db_host is None or self.db_user is None or self.db_password is None:
            return None
        password = quote(self.db_password.get_secret_value(), safe="")
        where = Address(self.db_host, self.db_port)
        return f"postgresql://{quote(self.db_user, safe='')}:{password}@{where}/{self.db_name}"

    @property
    def direct_dsn(self) -> str | None:
        return self.direct_url.get_secret_value() if self.direct_url else self.dsn
