"""The figures of the product: sockets, questions and their waves, jobs, channels.

They are parts like those of `hub.plumbing.settings.process`, which hold what the process stands on.
"""

from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr, ValidationInfo, field_validator

from hub.plumbing.settings.parsing import (
    BaseUrl,
    Contact,
    Cron,
    Names,
    Networks,
    Part,
    PerAskerLimit,
    PerPersonLimit,
    SmtpUrl,
    StrongSecret,
    TimeZone,
    VapidKey,
    Wave,
    Waves,
    env,
)
from hub.plumbing.settings.redis_address import RedisUrl
from protocol.jobs import QUEUES, QueueRow
from protocol.web_push import BROWSERS_HOSTS


class Sockets(Part):
    transports: Names = env("SOCKET_TRANSPORTS", "websocket,polling", "comma separated")
    hub_processes: int = env(
        "HUB_PROCESSES",
        1,
        "of `dongne hub`, on one PORT; over 1 only with SOCKET_TRANSPORTS=websocket",
        ge=1,
        le=256,
    )
    rate_window_ms: int = env("SOCKET_RATE_WINDOW_MS", 10000, "events of one person", ge=1)
    rate_max: int = env("SOCKET_RATE_MAX", 100, "events a window", ge=1)
    chat_rate_max: int = env("CHAT_RATE_MAX", 20, "chat messages a window", ge=1)
    ping_interval_ms: int = env("PING_INTERVAL", 25000, "ms", ge=1)
    ping_timeout_ms: int = env("PING_TIMEOUT", 60000, "ms", ge=1)
    max_payload_bytes: int = env("MAX_PAYLOAD_BYTES", 65536, "one message of a client", ge=1024)
    max_rooms: int = env("MAX_ROOMS_PER_SOCKET", 50, "rooms a client asked for", ge=1)
    presence_ttl_s: int = env("PRESENCE_TTL", 90, "s; over PING_INTERVAL + PING_TIMEOUT", ge=1)
    max_per_node: int = env("CONN_MAX_NODE", 20000, "connections of a process", ge=1)
    max_per_ip: int = env("CONN_MAX_IP", 200, "connections to a process", ge=1)
    max_per_user: int = env("CONN_MAX_USER", 10, "the oldest goes; over the cluster", ge=1)
    accept_rate: int = env("ACCEPT_RATE", 1000, "connections a second, a process", ge=1)
    connect_timeout_s: float = env(
        "CONNECT_TIMEOUT",
        10,
        "s to the first CONNECT; also for a request's head, and for its body",
        gt=0,
    )
    backlog_low: int = env("BACKLOG_LOW", 65536, "waiting bytes: volatile dropped", ge=1)
    backlog_high: int = env("BACKLOG_HIGH", 262144, "waiting bytes: connection closed", ge=1)
    admin_page: bool = env(
        "ADMIN_UI_ENABLED",
        False,
        "Socket.IO's admin page may connect, with an admin's access token for its password",
    )
    drain_rate: int = env("DRAIN_RATE", 100, "connects a second per surviving node", ge=1)

    @field_validator("transports")
    @classmethod
    def _transports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= {"websocket", "polling"}:
            raise ValueError("must be websocket, polling or both")
        return value

    @field_validator("hub_processes")
    @classmethod
    def _sticky(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and "polling" in info.data.get("transports", ()):
            raise ValueError(
                "over 1 needs SOCKET_TRANSPORTS=websocket: polling needs sticky sessions, and on a"
                " shared port any process may get the next request"
            )
        return value

    @field_validator("presence_ttl_s")
    @classmethod
    def _outlives(cls, value: int, info: ValidationInfo) -> int:
        pings = info.data.get("ping_interval_ms", 0) + info.data.get("ping_timeout_ms", 0)
        if value * 1000 <= pings:
            raise ValueError("must be over PING_INTERVAL + PING_TIMEOUT (S5-52)")
        return value

    @field_validator("backlog_high")
    @classmethod
    def _over_low(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("backlog_low", 0):
            raise ValueError("must be over BACKLOG_LOW")
        return value


class Questions(Part):
    """Questions, places, the urgent protocol."""

    qa_api_enabled: bool = env(
        "QA_API_ENABLED", True, "false where a Q&A service publishes: no route asks or answers"
    )
    points_per_accept: int = env("POINTS_PER_ACCEPT", 10, "points", ge=0)
    nearby_radius_m: int = env(
        "NEARBY_RADIUS_M", 2000, "m; where a person says nothing else", ge=500, le=20_000
    )
    location_ttl_s: int = env("LOCATION_TTL", 86400, "s a position is kept", ge=1)
    location_consent_required: bool = env("LOCATION_CONSENT_REQUIRED", True, "before any position")
    urgent_deadline_s: int = env("URGENT_DEADLINE", 600, "s", ge=1)
    urgent_waves: Waves = env("URGENT_WAVES", "0:2000,180:5000,420:region", "s:m, widening")
    urgent_max_recipients: int = env("URGENT_MAX_RECIPIENTS", 200, "ranked people a wave", ge=1)
    urgent_claims: int = env("URGENT_CLAIMS", 3, "answerers at once", ge=1)
    urgent_claim_lease_s: int = env("URGENT_CLAIM_LEASE", 180, "s", ge=1)
    urgent_per_asker: PerAskerLimit = env("URGENT_PER_ASKER", "1:3", "open at once : a day")
    urgent_per_person: PerPersonLimit = env(
        "URGENT_PER_PERSON", "6:600", "wakes a day : s between two pushes"
    )
    unseen_push_urgent_s: int = env("UNSEEN_PUSH_URGENT", 30, "s; unless acknowledged", ge=0)
    unseen_email_urgent_s: int = env("UNSEEN_EMAIL_URGENT", 240, "s; 0 = never", ge=0)
    unseen_push_s: int = env("UNSEEN_PUSH", 60, "s; unless acknowledged", ge=0)
    unseen_email_s: int = env("UNSEEN_EMAIL", 600, "s; unless seen", ge=0)

    @field_validator("urgent_waves")
    @classmethod
    def _before_deadline(cls, value: tuple[Wave, ...], info: ValidationInfo) -> tuple[Wave, ...]:
        if value[-1].after_s >= info.data.get("urgent_deadline_s", value[-1].after_s + 1):
            raise ValueError("each wave must start before URGENT_DEADLINE")
        return value


class Jobs(Part):
    notification_concurrency: int = env(
        "QUEUE_NOTIFICATION_CONCURRENCY",
        QUEUES["notification"].concurrency,
        "jobs of one worker process",
        ge=1,
    )
    notification_rate: int = env(
        "QUEUE_NOTIFICATION_RATE",
        QUEUES["notification"].rate,
        "people a minute, over all workers",
        ge=10,
    )
    notification_attempts: int = env(
        "QUEUE_NOTIFICATION_ATTEMPTS", QUEUES["notification"].tries, "tries of a job", ge=1
    )
    email_concurrency: int = env(
        "QUEUE_EMAIL_CONCURRENCY", QUEUES["email"].concurrency, "jobs of one worker process", ge=1
    )
    email_rate: int = env(
        "QUEUE_EMAIL_RATE", QUEUES["email"].rate, "people a minute, over all workers", ge=10
    )
    email_attempts: int = env("QUEUE_EMAIL_ATTEMPTS", QUEUES["email"].tries, "tries of a job", ge=1)
    analytics_concurrency: int = env(
        "QUEUE_ANALYTICS_CONCURRENCY",
        QUEUES["analytics"].concurrency,
        "jobs of one worker process",
        ge=1,
    )
    analytics_attempts: int = env(
        "QUEUE_ANALYTICS_ATTEMPTS", QUEUES["analytics"].tries, "tries of a job", ge=1
    )
    retry_delay_ms: int = env("RETRY_DELAY", 1000, "ms before the second try", ge=1)
    retry_factor: float = env("RETRY_FACTOR", 2, "grows the delay", ge=1)
    retry_max_delay_ms: int = env("RETRY_MAX_DELAY", 10000, "ms, the longest delay", ge=1)
    trending_cron: Cron = env("TRENDING_CRON", "0 * * * *", "the last 24 hours are counted anew")
    digest_cron: Cron = env("DIGEST_CRON", "0 9 * * *", "the daily mail; once a local day")
    rollup_cron: Cron = env("ROLLUP_CRON", "0 2 * * *", "statistics of yesterday, and retention")
    scheduler_tz: TimeZone = env("SCHEDULER_TZ", "Asia/Seoul", "time zone of schedules")

    def queues(self) -> dict[str, QueueRow]:
        """The queues' rows with what is set here in force."""
        rows = dict(QUEUES)
        rows["notification"] = replace(
            rows["notification"],
            concurrency=self.notification_concurrency,
            tries=self.notification_attempts,
            rate=self.notification_rate,
        )
        rows["email"] = replace(
            rows["email"],
            concurrency=self.email_concurrency,
            tries=self.email_attempts,
            rate=self.email_rate,
        )
        rows["analytics"] = replace(
            rows["analytics"],
            concurrency=self.analytics_concurrency,
            tries=self.analytics_attempts,
        )
        return rows

    @field_validator("retry_max_delay_ms")
    @classmethod
    def _longest(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("retry_delay_ms", 0):
            raise ValueError("must not be under RETRY_DELAY")
        return value


class Retention(Part):
    """Days that something is kept; whole partitions go, so a row may stay up to a month longer."""

    notifications: int = env("RETENTION_NOTIFICATIONS", 90, "days", ge=1)
    deliveries: int = env("RETENTION_DELIVERIES", 90, "days; decisions and people of waves", ge=1)
    seen: int = env("RETENTION_SEEN", 30, "days; deliveries of what was seen", ge=1)
    chat: int = env("RETENTION_CHAT", 30, "days; what was said in rooms", ge=1)
    dedup: int = env("RETENTION_DEDUP", 7, "days", ge=1)
    event_payloads: int = env("RETENTION_EVENT_PAYLOADS", 7, "days after processing", ge=1)
    events: int = env("RETENTION_EVENTS", 90, "days", ge=1)
    keys: int = env("RETENTION_KEYS", 1, "days; Idempotency-Key, clientMessageId", ge=1)
    outbox: int = env("RETENTION_OUTBOX", 1, "days after publishing", ge=1)


class Cached(Part):
    """What is kept of reads, and where."""

    url: RedisUrl | None = env(
        "REDIS_CACHE_URL", None, "a Redis of its own for what is cached; else REDIS_URL"
    )
    l1_ttl_s: float = env("CACHE_L1_TTL", 60, "s in a process's memory, at most", gt=0)
    l2_ttl_s: float = env("CACHE_L2_TTL", 3600, "s in Redis, where nothing shorter is said", gt=0)


class Channels(Part):
    """Push and mail. A channel without credentials is recorded as not_configured."""

    fcm_credentials_file: Path | None = env(
        "FCM_CREDENTIALS_FILE", None, "JSON key of a Google service account"
    )
    fcm_url: str | None = env("FCM_URL", None, "another end point than Google's")
    apns_key_file: Path | None = env("APNS_KEY_FILE", None, "the .p8 key that Apple gave out")
    apns_key_id: str | None = env("APNS_KEY_ID", None, "its id; needed with APNS_KEY_FILE")
    apns_team_id: str | None = env("APNS_TEAM_ID", None, "needed with APNS_KEY_FILE")
    apns_topic: str | None = env(
        "APNS_TOPIC", None, "the app's bundle id; needed with APNS_KEY_FILE"
    )
    apns_url: str | None = env(
        "APNS_URL", None, "another end point than Apple's, for both environments"
    )
    vapid_private_key: VapidKey | None = env(
        "VAPID_PRIVATE_KEY", None, "32 bytes in base64url, the key browsers subscribe with"
    )
    vapid_subject: Contact | None = env(
        "VAPID_SUBJECT", None, "mailto: or https: of ours; needed with VAPID_PRIVATE_KEY"
    )
    push_timeout_ms: int = env("PUSH_TIMEOUT", 10000, "ms", ge=1)
    webpush_hosts: Names = env(
        "WEBPUSH_HOSTS",
        ",".join(BROWSERS_HOSTS),
        "push services that subscriptions may name; *.example.org for all below",
    )
    outbound_allow: Networks = env(
        "OUTBOUND_ALLOW",
        "",
        "addresses or networks: exceptions to the private-address rule; refused in production",
    )
    smtp_url: SmtpUrl | None = env("SMTP_URL", None, "smtp:// or smtps://user:password@host")
    mail_from: str | None = env("MAIL_FROM", None, "sender address; needed with SMTP_URL")
    mail_timeout_ms: int = env("MAIL_TIMEOUT", 30000, "ms", ge=1)
    breaker_errors: int = env("BREAKER_ERRORS", 5, "errors in a row that open a breaker", ge=1)
    breaker_reset_ms: int = env("BREAKER_RESET", 30000, "ms to the half-open try", ge=1)
    kakao_message_url: BaseUrl | None = env(
        "KAKAO_MESSAGE_URL", None, "where messages to users.kakao_user_key are posted"
    )
    kakao_message_token: SecretStr | None = env(
        "KAKAO_MESSAGE_TOKEN", None, "its access token; needed with KAKAO_MESSAGE_URL"
    )

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("smtp_url") is not None:
            raise ValueError("is needed with SMTP_URL")
        return value

    @field_validator("apns_key_id", "apns_team_id", "apns_topic")
    @classmethod
    def _apns(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("apns_key_file") is not None:
            raise ValueError("is needed with APNS_KEY_FILE")
        return value

    @field_validator("vapid_subject")
    @classmethod
    def _vapid(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("vapid_private_key") is not None:
            raise ValueError("is needed with VAPID_PRIVATE_KEY")
        return value

    @field_validator("kakao_message_token")
    @classmethod
    def _kakao(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("kakao_message_url") is not None:
            raise ValueError("is needed with KAKAO_MESSAGE_URL")
        return value

    alert_webhook_url: BaseUrl | None = env(
        "ALERT_WEBHOOK_URL", None, "told what goes away and comes back; https in production"
    )
    alert_webhook_secret: StrongSecret | None = env(
        "ALERT_WEBHOOK_SECRET", None, "signs what is told; needed with ALERT_WEBHOOK_URL"
    )

    @field_validator("alert_webhook_url")
    @classmethod
    def _https(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("app_env") == "production" and not value.startswith("https:"):
            raise ValueError("must be https in production")
        return value

    @field_validator("alert_webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("alert_webhook_url") is not None:
            raise ValueError("is needed with ALERT_WEBHOOK_URL")
        return value

    @field_validator("outbound_allow")
    @classmethod
    def _strict(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if value and info.data.get("app_env") == "production":
            raise ValueError("is refused in production")
        return value
