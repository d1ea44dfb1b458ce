"""Members: who they are, and in which language they are told."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from hub.domain.context import Domain, Known
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from protocol.domain_events import UserUpdated
from protocol.errors import not_found
from protocol.events.questions import Author
from protocol.mail_address import normal_form
from protocol.names import cached_user
from protocol.rest.questions import Asker
from protocol.texts import DEFAULT_LANGUAGE, language_of


async def ensure(d: Domain, conn: Connection, *people: str) -> None:
    """Make the rows of people another service knows and we do not yet. Until they say otherwise,
    nearby is NEARBY_RADIUS_M (G1)."""
    await conn.execute(
        "INSERT INTO users (id, nickname) SELECT id, id FROM unnest($1::text[]) AS id ORDER BY id"
        " ON CONFLICT DO NOTHING",
        people,
    )
    await conn.execute(
        "INSERT INTO notification_preferences (user_id, radius_m)"
        " SELECT id, $2 FROM unnest($1::text[]) AS id ORDER BY id ON CONFLICT DO NOTHING",
        people,
        d.policy.nearby_radius_m,
    )


HASHED: Final = "'sha256:' || encode(sha256(convert_to({}, 'UTF8')), 'hex')"
"""SQL: what stays of a suppressed address after erasure."""


async def check_living(conn: Connection, user_id: str) -> None:
    """Raises Known for somebody erased: nothing that comes late makes them known again."""
    if await conn.fetchval("SELECT deleted_at FROM users WHERE id = $1", user_id) is not None:
        raise Known("This person is erased.")


def author_of(row: Row) -> Author:
    """Who wrote something, from a row with `user_id` and its person's nickname and mark."""
    return Author(
        user_id=row["user_id"],
        nickname=row["nickname"],
        is_local_verified=row["is_local_verified"],
    )


async def author(conn: Connection, user_id: str) -> Author:
    """Raises NOT_FOUND for a person nobody registered."""
    row = await conn.fetchrow(
        "SELECT id AS user_id, nickname, is_local_verified FROM users"
        " WHERE id = $1 AND deleted_at IS NULL",
        user_id,
    )
    if row is None:
        raise not_found("user")
    return author_of(row)


ASKER = "u.nickname, u.is_local_verified, u.region_code AS home_region"
"""SQL: what an Asker is made of, of users u, beside a row's `user_id`."""


def asker_of(row: Row) -> Asker:
    """Who asked, from a row with `user_id` and what ASKER selects."""
    return Asker(
        user_id=row["user_id"],
        nickname=row["nickname"],
        is_local_verified=row["is_local_verified"],
        region_code=row["home_region"],
    )


async def asker(conn: Connection, user_id: str) -> Asker:
    """Raises NOT_FOUND for a person nobody registered."""
    row = await conn.fetchrow(
        f"SELECT id AS user_id, {ASKER} FROM users u WHERE id = $1 AND deleted_at IS NULL",  # noqa: S608 - a constant
        user_id,
    )
    if row is None:
        raise not_found("user")
    return asker_of(row)


CACHED: Final = Family("user")
"""S2-093, invalidated by what changes a person."""


async def known(d: Domain, user_id: str) -> Asker:
    """Somebody who asked, from the cache. Raises NOT_FOUND for a person nobody registered."""

    async def load(may_lag: bool) -> Asker:
        return await d.reads.run(lambda conn: asker(conn, user_id), may_lag=may_lag)

    return await d.cache.read(CACHED, user_id, Asker, load)


async def update(d: Domain, change: Change, event: UserUpdated, at: datetime | None = None) -> None:
    """user.updated: only the fields that were sent change, and of these only those of which
    nothing newer is known. `at`: when it happened, now by default.
    """
    await ensure(d, change.conn, event.user_id)
    await check_living(change.conn, event.user_id)
    fields = (name for name in event.__struct_fields__ if name != "user_id")
    told = {name: value for name in fields if (value := getattr(event, name)) is not None}
    await write_facts(change.conn, event.user_id, told, at or datetime.now(UTC))
    change.invalidate(cached_user(event.user_id))


async def write_facts(conn: Connection, user_id: str, told: dict[str, Any], at: datetime) -> bool:
    """Write what is newer than what is known (None: that there is none); whether that changed
    anything. Of somebody erased nothing is."""
    if told.get("email") is not None:
        told["email"] = normal_form(told["email"])
    fresh = await newer(conn, user_id, list(told), at)
    if not fresh:
        return False
    fields = ", ".join(f"{name} = ${n}" for n, name in enumerate(fresh, 2))
    other = " OR ".join(f"{name} IS DISTINCT FROM ${n}" for n, name in enumerate(fresh, 2))
    changed = await conn.fetchval(
        f"UPDATE users SET {fields}, updated_at = now() WHERE id = $1 AND deleted_at IS NULL"  # noqa: S608 - names of our form
        f" AND ({other}) RETURNING true",
        user_id,
        *(told[name] for name in fresh),
    )
    return bool(changed)


async def newer(
    conn: Connection, user_id: str, fields: Sequence[str], at: datetime, *, once: bool = False
) -> list[str]:
    """Those of these fields of which nothing newer is known; what is told now is known then.

    Of two facts of one moment the second to arrive wins, unless it is told `once` only.
    """
    rows = await conn.fetch(
        "INSERT INTO user_facts AS known (user_id, field, occurred_at)"
        " SELECT $1, field, $3 FROM unnest($2::text[]) AS field ORDER BY field"
        " ON CONFLICT (user_id, field) DO UPDATE SET occurred_at = $3"
        " WHERE known.occurred_at <= $3 AND NOT $4 RETURNING field",
        user_id,
        list(fields),
        at,
        once,
    )
    return [row["field"] for row in rows]


async def locale_of(conn: Connection, user_id: str) -> str:
    """The language a person is told in; Korean for somebody nobody registered."""
    return (await locales_of(conn, [user_id])).get(user_id, DEFAULT_LANGUAGE)


async def locales_of(conn: Connection, users: Sequence[str]) -> dict[str, str]:
    """Languages of people: that of the device they used last, else their own setting."""
    rows = await conn.fetch(
        "SELECT u.id, u.locale, (SELECT d.locale FROM devices d WHERE d.user_id = u.id"
        "  AND d.disabled_at IS NULL AND d.locale IS NOT NULL"
        "  ORDER BY d.last_seen_at DESC LIMIT 1) AS device"
        " FROM users u WHERE u.id = ANY($1::text[])",
        list(users),
    )
    return {row["id"]: language_of(row["device"], row["locale"]) for row in rows}
