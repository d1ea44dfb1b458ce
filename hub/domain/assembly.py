"""Puts the domain together from the settings: stores, emitter, outbox, figures of the rules."""

from dataclasses import replace
from functools import partial
from typing import Final

from redis.asyncio import Redis

from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.presence import Census
from hub.cluster.server import Server
from hub.domain.context import Domain, Policy
from hub.domain.places.atlas import Atlas, keep_current, load_atlas
from hub.domain.publishing import Publisher
from hub.domain.rules.audience import PlannedWave
from hub.domain.service_keys import ServiceKeys
from hub.domain.shards import Shards
from hub.plumbing.http.jwks import PublicKeys
from hub.plumbing.http.outbound import Outbound, PushServices
from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores import postgres, redis_client
from hub.plumbing.stores.cache import Cache
from hub.plumbing.stores.outbox import Outbox
from hub.plumbing.stores.postgres import Pool
from hub.plumbing.stores.replicas import Reads, Replica
from protocol.names import ATLAS, Channels, Keys
from protocol.web_push import public_text, read_vapid_key

MOST_ELSEWHERE: Final = 4
"""Connections of a process to the database of each other region, whose people are few here."""


async def open_domain(
    life: Lifecycle, settings: Settings, clock: Clock | None = None, *, patient: bool = False
) -> Domain:
    """What the doors share, and it hears what other processes change; closed with the process.

    Raises as `connect_domain`.
    """
    domain = await connect_domain(life, settings, clock, patient=patient)
    life.spawn("cache", domain.cache.listen())
    bell = domain.cache.bell(ATLAS)
    life.spawn("atlas", keep_current(domain.atlas, domain.pool, bell))
    return domain


async def connect_domain(
    life: Lifecycle, settings: Settings, clock: Clock | None = None, *, patient: bool = False
) -> Domain:
    """Connect to Postgres and Redis and assemble the domain; closed with the process. As it is, it
    serves a command that does one thing and ends: nothing runs beside. Who is `patient` can do some
    of its work without Postgres, and begins while that is away.

    Raises asyncpg or OS errors when Postgres cannot be reached; Redis is dialled when first used.
    """
    clock = clock or SystemClock()
    keys = Keys(settings.redis.prefix)
    pool = await life.enter("postgres", postgres.connect(pool_options(settings), patient=patient))
    redis = redis_client.connect(settings.redis)
    life.on_stop("redis", redis.aclose)
    line = Line(redis_server(settings), "dongne-emitter")
    life.on_stop("emitter", line.close)
    limits = LogLimits(settings.redis.recovery_window_s, settings.redis.recovery_events)
    channels = Channels(settings.redis.adapter_key, settings.redis.slot)
    publishing = publishing_line(life, settings, line)
    emitter = Emitter(publishing, keys, channels, limits, classic_out=settings.redis.classic_out)
    publisher = Publisher(emitter, publishing, keys, channels)
    cache = open_cache(life, settings, redis)
    domain = Domain(
        pool=pool,
        redis=redis,
        ask=line.call,
        outbox=Outbox(
            pool, publisher.publish, clock, publisher, settings.redis.replay_s, cache.invalidate
        ),
        presence=Census(line, keys),
        clock=clock,
        atlas=await _atlas(pool, patient=patient),
        cache=cache,
        reads=open_reads(life, settings, pool, redis),
        tokens=settings.auth.token_keys,
        service_keys=ServiceKeys(pool),
        keys=keys,
        link_secret=link_secret(settings),
        public_keys=public_keys(life, settings),
        policy=policy(settings),
        shards=Shards(settings.database.shard_urls, settings.database.default_region),
    )
    return replace(domain, elsewhere=await _elsewhere(life, settings, domain, publisher))


async def _elsewhere(
    life: Lifecycle, settings: Settings, here: Domain, publisher: Publisher
) -> dict[str, Domain]:
    """By region; their databases are dialled when they are first asked."""
    found = {}
    for region, url in here.shards.urls.items():
        options = replace(pool_options(settings), url=url, min_size=0, max_size=MOST_ELSEWHERE)
        pool = await postgres.open_pool(options, region)
        life.on_stop(f"postgres of {region}", partial(postgres.close_pool, pool))
        outbox = Outbox(pool, publisher.publish, here.clock, leaves=True)
        found[region] = replace(here, pool=pool, outbox=outbox, shards=Shards())
    return found


async def _atlas(pool: Pool, *, patient: bool) -> Atlas:
    try:
        return await load_atlas(pool)
    except postgres.AWAY:
        if not patient:
            raise
        return Atlas()


def publishing_line(life: Lifecycle, settings: Settings, line: Line) -> Line:
    """One of its own where replicas are waited for: what is asked beside must not wait, too."""
    if not settings.redis.wait:
        return line
    own = Line(redis_server(settings), "dongne-publisher", replicas=settings.redis.wait)
    life.on_stop("publisher", own.close)
    return own


def open_cache(life: Lifecycle, settings: Settings, redis: Redis) -> Cache:
    """On a Redis of its own where one is named; it ends with the process."""
    part = settings.cached
    if part.url is not None:
        own = settings.redis.model_copy(update={"url": part.url, "sentinels": ()})
        redis = redis_client.connect(own, name="dongne-cache")
        life.on_stop("cache redis", redis.aclose)
    cache = Cache(redis, settings.redis.prefix, memory_ttl_s=part.l1_ttl_s, ttl_s=part.l2_ttl_s)
    life.on_stop("cache", cache.close)
    return cache


def open_limits(life: Lifecycle, settings: Settings) -> Limits:
    """By a connection of their own, which costs a fifth of a client with a pool; closed with the
    process."""
    line = Line(redis_server(settings), "dongne-limits")
    life.on_stop("limits' connection", line.close)
    limits = Limits(line.call, Keys(settings.redis.prefix))
    life.on_stop("limits", limits.close)
    return limits


def open_reads(life: Lifecycle, settings: Settings, pool: Pool, redis: Redis) -> Reads:
    part, primary = settings.database, pool_options(settings)
    options = replace(
        primary,
        min_size=part.replica_pool_min,
        max_size=part.replica_pool_max,
        idle_timeout=part.replica_idle_timeout_ms / 1000,
        statement_timeout=part.replica_statement_timeout_ms / 1000,
        application_name="dongne-api-readonly",
        read_only=True,
    )
    replicas = [
        Replica(replace(options, url=url), f"replica{number}")
        for number, url in enumerate(part.replica_dsns, 1)
    ]
    reads = Reads(pool, replicas, redis, Keys(settings.redis.prefix))
    life.on_stop("replicas", reads.close)
    return reads


def link_secret(settings: Settings) -> str:
    """What signs the links in mails; empty where there is none."""
    secret = settings.auth.link_secret
    return secret.get_secret_value() if secret else ""


def public_keys(life: Lifecycle, settings: Settings) -> PublicKeys | None:
    """Those of somebody else's tokens, where there are any; closed with the process."""
    if settings.auth.jwks_url is None:
        return None
    keys = PublicKeys(settings.auth.jwks_url)
    life.on_stop("public keys", keys.close)
    return keys


def redis_server(settings: Settings) -> Server:
    """Redis as the cluster dials it. Raises ValueError when no address is given."""
    return Server(settings.redis.address)


def pool_options(settings: Settings) -> postgres.PoolOptions:
    part = settings.database
    assert part.dsn is not None
    return postgres.PoolOptions(
        url=part.dsn,
        min_size=part.pool_min,
        max_size=part.pool_max,
        idle_timeout=part.pool_idle_timeout_ms / 1000,
        connect_timeout=part.connect_timeout_ms / 1000,
        statement_timeout=part.statement_timeout_ms / 1000,
        statement_cache=part.statement_cache,
        verify=part.ssl,
        log_queries=part.log_queries,
    )


def policy(settings: Settings) -> Policy:
    """Figures of the rules as the settings say."""
    part, auth, channels = settings.questions, settings.auth, settings.channels
    key = channels.vapid_private_key
    return Policy(
        waves=tuple(PlannedWave(*wave) for wave in part.urgent_waves),
        urgent_deadline_s=part.urgent_deadline_s,
        urgent_max_recipients=part.urgent_max_recipients,
        urgent_claims=part.urgent_claims,
        urgent_claim_lease_s=part.urgent_claim_lease_s,
        urgent_open_per_asker=part.urgent_per_asker.open,
        urgent_per_asker_day=part.urgent_per_asker.a_day,
        urgent_per_person_day=part.urgent_per_person.a_day,
        urgent_push_pause_s=part.urgent_per_person.pause_s,
        unseen_push_urgent_s=part.unseen_push_urgent_s,
        unseen_email_urgent_s=part.unseen_email_urgent_s,
        unseen_push_s=part.unseen_push_s,
        unseen_email_s=part.unseen_email_s,
        nearby_radius_m=part.nearby_radius_m,
        location_ttl_s=part.location_ttl_s,
        location_consent_required=part.location_consent_required,
        points_per_accept=part.points_per_accept,
        access_ttl_s=auth.access_ttl_s,
        refresh_ttl_s=auth.refresh_ttl_s,
        public_base_url=settings.web.public_base_url or "",
        push_services=PushServices(channels.webpush_hosts, Outbound(channels.outbound_allow)),
        web_key=None if key is None else public_text(read_vapid_key(key.get_secret_value())),
    )
