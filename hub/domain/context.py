"""What every verb needs, handed in once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from redis.asyncio import Redis

from hub.domain.places.atlas import Atlas
from hub.domain.rules.audience import PlannedWave
from hub.domain.rules.kinds import Channel, Pace, Timers
from hub.domain.service_keys import ServiceKeys
from hub.domain.shards import Shards
from hub.plumbing.http.jwks import PublicKeys
from hub.plumbing.http.outbound import PushServices
from hub.plumbing.life.clock import Clock
from hub.plumbing.stores.cache import Cache
from hub.plumbing.stores.outbox import Outbox
from hub.plumbing.stores.postgres import Pool
from hub.plumbing.stores.redis_scripts import Ask
from hub.plumbing.stores.replicas import Reads
from protocol.domain_events import Envelope
from protocol.errors import Code, HubError
from protocol.names import Keys
from protocol.payload import Message, plain
from protocol.tokens import TokenKeys


class Presence(Protocol):
    async def online(self, users: list[str]) -> set[str]:
        """Which of these people hold a live socket anywhere."""

    async def count(self, place: str) -> int:
        """How many people are in a place: the key of a room's leases (hub.domain.rooms.place)."""

    async def people(self, place: str, limit: int) -> list[str]:
        """At most `limit` of them, those seen last first."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Figures of the rules: seconds, metres, points."""

    waves: tuple[PlannedWave, ...] = (
        PlannedWave(0, 2000),
        PlannedWave(180, 5000),
        PlannedWave(420, None),
    )
    urgent_deadline_s: int = 600
    urgent_max_recipients: int = 200
    urgent_claims: int = 3
    urgent_claim_lease_s: int = 180
    urgent_open_per_asker: int = 1
    urgent_per_asker_day: int = 3
    urgent_per_person_day: int = 6
    urgent_push_pause_s: int = 600
    unseen_push_urgent_s: int = 30
    unseen_email_urgent_s: int = 240
    unseen_push_s: int = 60
    unseen_email_s: int = 600
    nearby_radius_m: int = 2000
    location_ttl_s: int = 86400
    location_consent_required: bool = True
    points_per_accept: int = 10
    access_ttl_s: int = 900
    refresh_ttl_s: int = 604_800
    public_base_url: str = ""
    push_services: PushServices = field(default_factory=PushServices)
    web_key: str | None = None

    @property
    def widest_circle_m(self) -> int:
        """Of the waves that reach cells; the region is a room of its own."""
        return max((wave.radius_m or 0 for wave in self.waves), default=0)

    def timers(self, pace: Pace) -> Timers:
        push_s, email_s = {
            Pace.URGENT: (self.unseen_push_urgent_s, self.unseen_email_urgent_s),
            Pace.PERSONAL: (self.unseen_push_s, self.unseen_email_s),
            Pace.AT_ONCE: (0, 0),
        }[pace]
        return {Channel.PUSH: push_s, Channel.KAKAO: push_s, Channel.EMAIL: email_s}


@dataclass(frozen=True, slots=True)
class Domain:
    """`ask` sends one command to Redis by a lasting connection, for what every request and every
    socket asks: a client with a pool costs many times as much. `elsewhere`: the same on the
    database of another region, by its code: for the inboxes there. What changes by it is published
    by that region's own workers."""

    pool: Pool
    redis: Redis
    ask: Ask
    outbox: Outbox
    presence: Presence
    clock: Clock
    atlas: Atlas
    cache: Cache
    reads: Reads
    tokens: TokenKeys
    service_keys: ServiceKeys
    keys: Keys = field(default_factory=Keys)
    link_secret: str = field(default="", repr=False)
    public_keys: PublicKeys | None = None
    policy: Policy = field(default_factory=Policy)
    shards: Shards = field(default_factory=Shards)
    elsewhere: Mapping[str, "Domain"] = field(default_factory=dict)

    def now(self) -> datetime:
        return self.clock.now()


class Known(HubError):
    """What is to be made is here already, as it was told: CONFLICT for a caller who wants to make
    it, a duplicate for an event that only tells of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.CONFLICT, message)


def outgoing(d: Domain, event_type: str, payload: Message) -> Envelope:
    """What other services hear of something that was done here."""
    return Envelope(
        event_id=uuid4(),
        event_type=event_type,
        occurred_at=d.now(),
        payload=plain(payload),
        publisher="hub",
    )
