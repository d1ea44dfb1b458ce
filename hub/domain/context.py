"""What every verb needs, handed in once; and how a verb is done once for an Idempotency-Key."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec
from redis.asyncio import Redis

from hub.domain.places import Atlas
from hub.domain.service_keys import ServiceKeys
from hub.plumbing.http.outbound import PushServices
from hub.plumbing.life.clock import Clock
from hub.plumbing.stores.outbox import Change, Outbox
from hub.plumbing.stores.postgres import Connection, Pool, from_json, to_json
from protocol.errors import Code, HubError, conflict
from protocol.names import Keys
from protocol.payload import Message, plain
from protocol.tokens import TokenKeys


class Presence(Protocol):
    async def online(self, users: list[str]) -> set[str]:
        """Which of these people hold a live socket anywhere."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Figures of the rules: seconds, metres, points."""

    wave_radius_m: int = 2000
    urgent_deadline_s: int = 600
    urgent_max_recipients: int = 200
    urgent_open_per_asker: int = 1
    urgent_per_asker_day: int = 3
    unseen_push_urgent_s: int = 30
    unseen_email_urgent_s: int = 240
    unseen_push_s: int = 60
    unseen_email_s: int = 600
    location_ttl_s: int = 86400
    location_consent_required: bool = True
    points_per_accept: int = 10
    access_ttl_s: int = 900
    refresh_ttl_s: int = 604_800
    public_base_url: str = ""
    push_services: PushServices = field(default_factory=PushServices)
    web_key: str | None = None


@dataclass(frozen=True, slots=True)
class Domain:
    pool: Pool
    redis: Redis
    outbox: Outbox
    presence: Presence
    clock: Clock
    atlas: Atlas
    tokens: TokenKeys
    service_keys: ServiceKeys
    keys: Keys = field(default_factory=Keys)
    policy: Policy = field(default_factory=Policy)

    def now(self) -> datetime:
        return self.clock.now()


class Known(HubError):
    """What is to be made is here already, as it was told: CONFLICT for a caller who wants to make
    it, a duplicate for an event that only tells of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.CONFLICT, message)


T = TypeVar("T", bound=Message)


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key: same body, same answer; another body, CONFLICT. Kept 24 h."""

    subject: str
    route: str
    key: str
    body: bytes

    @property
    def body_hash(self) -> bytes:
        return hashlib.sha256(self.body).digest()

    async def find(self, conn: Connection) -> object | None:
        """The answer given before; two calls at once wait for each other here."""
        name = f"{self.subject}\n{self.route}\n{self.key}"
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
        row = await conn.fetchrow(
            "SELECT body_hash, response FROM idempotency_keys"
            " WHERE subject = $1 AND route = $2 AND key = $3"
            " AND created_at > now() - interval '24 hours'",
            self.subject,
            self.route,
            self.key,
        )
        if row is None:
            return None
        if row["body_hash"] != self.body_hash:
            raise conflict("This Idempotency-Key was used with another body.")
        answer: object = from_json(row["response"])
        return answer

    async def keep(self, conn: Connection, answer: Message) -> None:
        await conn.execute(
            "INSERT INTO idempotency_keys (subject, route, key, body_hash, status, response)"
            " VALUES ($1, $2, $3, $4, 200, $5) ON CONFLICT (subject, route, key) DO UPDATE SET"
            " body_hash = excluded.body_hash, response = excluded.response, created_at = now()",
            self.subject,
            self.route,
            self.key,
            self.body_hash,
            to_json(plain(answer)),
        )


async def do_once(
    d: Domain, once: Once | None, form: type[T], verb: Callable[[Change], Awaitable[T]]
) -> T:
    """Run `verb` in a change of its own, unless its key already has an answer.

    Raises CONFLICT for a key used with another body, UNAVAILABLE, and what the verb raises.
    """
    async with d.outbox.change() as change:
        if once is None:
            return await verb(change)
        given = await once.find(change.conn)
        if given is not None:
            return msgspec.convert(given, form)
        answer = await verb(change)
        await once.keep(change.conn, answer)
        return answer
