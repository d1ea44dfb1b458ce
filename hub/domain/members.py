"""Members: who they are, what they prefer, their devices, and where they are as a cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from hub.domain import places
from hub.domain.context import Domain
from hub.domain.inbox import UNREAD, News, notify
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.domain_events import UserRegistered, UserUpdated
from protocol.errors import forbidden, invalid, not_found
from protocol.events import Author, Move
from protocol.mail_address import normal_form
from protocol.names import mute_room, neighbourhood_room, question_room, region_room, user_room
from protocol.rest import Device, DeviceRequest
from protocol.texts import DEFAULT_LANGUAGE, language_of
from protocol.web_push import read_subscription

DEVICES_MAX: Final = 20
"""Of one person: an app that registers a new token at each start, or somebody who makes tokens up,
would otherwise get as many pushes for each notification."""


async def ensure(conn: Connection, user_id: str) -> None:
    """Make the row of somebody another service knows and we do not yet."""
    await conn.execute(
        "INSERT INTO users (id, nickname) VALUES ($1, $1) ON CONFLICT DO NOTHING", user_id
    )
    await conn.execute(
        "INSERT INTO notification_preferences (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id
    )


async def author(conn: Connection, user_id: str) -> Author:
    """Raises NOT_FOUND for a person nobody registered."""
    row = await conn.fetchrow(
        "SELECT nickname, is_local_verified FROM users WHERE id = $1 AND deleted_at IS NULL",
        user_id,
    )
    if row is None:
        raise not_found("user")
    return Author(
        user_id=user_id, nickname=row["nickname"], is_local_verified=row["is_local_verified"]
    )


async def register(
    d: Domain, change: Change, event: UserRegistered, at: datetime | None = None
) -> bool:
    """user.registered, at its time: row, default preferences, welcome (once a person). False when
    that was known before.
    """
    conn, at = change.conn, at or d.now()
    await ensure(conn, event.user_id)
    first = await _newer(conn, event.user_id, ["registered"], at, once=True)
    changed = await _tell(conn, event.user_id, {"email": event.email}, at)
    if not first:
        return changed
    language = await locale_of(conn, event.user_id)
    news = News.of_ours(
        event.user_id,
        "welcome",
        language,
        {},
        priority="low",
        dedup_key="welcome",
        announce=True,
    )
    await notify(d, change, [news], await d.presence.online([event.user_id]))
    return True


async def update(change: Change, event: UserUpdated, at: datetime | None = None) -> None:
    """user.updated: only the fields that were sent change, and of these only those of which
    nothing newer is known. `at`: when it happened, now by default.
    """
    await ensure(change.conn, event.user_id)
    told = {name: getattr(event, name) for name in event.__struct_fields__ if name != "user_id"}
    await _tell(change.conn, event.user_id, told, at or datetime.now(UTC))


async def _tell(conn: Connection, user_id: str, told: dict[str, Any], at: datetime) -> bool:
    """Write what is newer than what is known; whether that changed anything."""
    if told.get("email") is not None:
        told["email"] = normal_form(told["email"])
    newer = await _newer(conn, user_id, [n for n, value in told.items() if value is not None], at)
    if not newer:
        return False
    fields = ", ".join(f"{name} = ${n}" for n, name in enumerate(newer, 2))
    other = " OR ".join(f"{name} IS DISTINCT FROM ${n}" for n, name in enumerate(newer, 2))
    changed = await conn.fetchval(
        f"UPDATE users SET {fields}, updated_at = now() WHERE id = $1 AND ({other}) RETURNING true",  # noqa: S608 - names of our form
        user_id,
        *(told[name] for name in newer),
    )
    return bool(changed)


async def _newer(
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


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a socket is given when it connects: its automatic rooms and what is unread."""

    rooms: tuple[str, ...]
    unread: int


async def welcome(d: Domain, user_id: str) -> Welcome:
    """Automatic rooms of a person (product.md, table of rooms), made anew at each connect."""
    async with acquire(d.pool) as conn:
        await ensure(conn, user_id)
        row = await conn.fetchrow(
            "UPDATE users u SET last_active_at = now() FROM notification_preferences p"  # noqa: S608 - a constant
            " LEFT JOIN user_locations l ON l.user_id = p.user_id AND l.expires_at > $2"
            " LEFT JOIN inbox_heads h ON h.user_id = p.user_id"
            " WHERE u.id = $1 AND p.user_id = u.id RETURNING"
            " u.region_code AS home_region, u.neighbourhood_code AS home, p.urgent_enabled,"
            " p.muted_neighbourhoods, l.cell, l.region_code, l.neighbourhood_code,"
            f" {UNREAD.format(now='$2')} AS unread",
            user_id,
            d.now(),
        )
        if row is None:
            raise not_found("user")
        questions = await conn.fetch(
            "SELECT id FROM questions WHERE user_id = $1 AND status = 'active'"
            " AND created_at > $2 UNION SELECT question_id FROM answers a JOIN questions q"
            " ON q.id = a.question_id WHERE a.user_id = $1 AND q.status = 'active'"
            " AND a.created_at > $2 LIMIT 20",
            user_id,
            d.now() - timedelta(days=1),
        )
    rooms = [user_room(user_id), *_place_rooms(row)]
    rooms += [mute_room(code) for code in row["muted_neighbourhoods"]]
    rooms += [question_room(question["id"]) for question in questions]
    return Welcome(tuple(dict.fromkeys(rooms)), row["unread"] or 0)


def _place_rooms(row: Row) -> list[str]:
    """Cell and region only while urgent alerts are wanted (design.md §5)."""
    rooms = []
    if row["urgent_enabled"]:
        rooms.append(region_room(row["region_code"] or row["home_region"]))
        if row["cell"] is not None:
            rooms.append(places.room_of_cell(row["cell"]))
    home = row["neighbourhood_code"] or row["home"]
    if home is not None:
        rooms.append(neighbourhood_room(home))
    return rooms


@dataclass(frozen=True, slots=True)
class Moved:
    region_code: str
    neighbourhood_code: str | None
    move: Move


async def locate(
    d: Domain, user_id: str, lat: float, lng: float, accuracy_m: float | None
) -> Moved:
    """Keep where somebody is, as a cell, and move all their sockets on all nodes.

    Raises FORBIDDEN without consent to positions. An accuracy over 1000 m names a region only.
    """
    region = d.atlas.region_of(lat, lng)
    neighbourhood = d.atlas.neighbourhood_of(lat, lng)
    coarse = accuracy_m is not None and accuracy_m > places.COARSE_ACCURACY_M
    cell = None if coarse else places.cell_of(lat, lng)
    async with d.outbox.change() as change:
        before = await _state(d, change.conn, user_id)
        if d.policy.location_consent_required and before["location_consent_at"] is None:
            raise forbidden("Positions need the person's consent (locationConsentAt).")
        await change.conn.execute(
            "INSERT INTO user_locations (user_id, cell, region_code, neighbourhood_code,"
            " updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (user_id) DO UPDATE SET cell = $2, region_code = $3,"
            " neighbourhood_code = $4, updated_at = $5, expires_at = $6",
            user_id,
            cell,
            region,
            None if coarse else neighbourhood,
            d.now(),
            d.now() + timedelta(seconds=d.policy.location_ttl_s),
        )
        after = await _state(d, change.conn, user_id)
        move = _move(user_id, _place_rooms(before), _place_rooms(after))
        change.tell(user_room(user_id), move)
    return Moved(region, None if coarse else neighbourhood, move)


async def forget_place(d: Domain, user_id: str) -> None:
    """DELETE /locations/me: the position goes, and all sockets leave its rooms."""
    async with d.outbox.change() as change:
        before = await _state(d, change.conn, user_id)
        await change.conn.execute("DELETE FROM user_locations WHERE user_id = $1", user_id)
        after = await _state(d, change.conn, user_id)
        change.tell(user_room(user_id), _move(user_id, _place_rooms(before), _place_rooms(after)))


async def _state(d: Domain, conn: Connection, user_id: str) -> Row:
    await ensure(conn, user_id)
    row = await conn.fetchrow(
        "SELECT u.location_consent_at, u.region_code AS home_region, u.neighbourhood_code AS home,"
        " p.urgent_enabled, l.cell, l.region_code, l.neighbourhood_code FROM users u"
        " JOIN notification_preferences p ON p.user_id = u.id LEFT JOIN user_locations l"
        " ON l.user_id = u.id AND l.expires_at > $2 WHERE u.id = $1",
        user_id,
        d.now(),
    )
    assert row is not None
    return row


def _move(user_id: str, before: Sequence[str], after: Sequence[str]) -> Move:
    return Move(
        room=user_room(user_id),
        join=tuple(room for room in after if room not in before),
        leave=tuple(room for room in before if room not in after),
    )


async def add_device(d: Domain, user_id: str, form: DeviceRequest) -> Device:
    """A known token moves to the caller: the phone has a new owner.

    Of more than DEVICES_MAX the ones registered longest ago go, the disabled ones first. Raises
    INVALID_PAYLOAD for a browser's end point at a push service that we do not send to.
    """
    if form.platform == "web" and not d.policy.push_services.take(read_subscription(form.token)):
        raise invalid("the subscription's endpoint is at no push service that we send to")
    async with acquire(d.pool) as conn, conn.transaction():
        await ensure(conn, user_id)
        # one registration of a person after the other, or two at once would count past the end
        await conn.execute("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", user_id)
        row = await conn.fetchrow(
            "INSERT INTO devices (id, user_id, platform, token, environment, app_version, locale)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (token) DO UPDATE SET user_id = $2,"
            " platform = $3, environment = $5, app_version = $6, locale = $7,"
            " last_seen_at = now(), disabled_at = NULL, disabled_reason = NULL RETURNING *",
            uuid4(),
            user_id,
            form.platform,
            form.token,
            form.environment,
            form.app_version,
            form.locale,
        )
        await conn.execute(
            "DELETE FROM devices WHERE user_id = $1 AND id IN (SELECT id FROM devices"
            " WHERE user_id = $1 ORDER BY disabled_at IS NOT NULL, last_seen_at DESC OFFSET $2)",
            user_id,
            DEVICES_MAX,
        )
    assert row is not None
    return _device(row)


async def devices(d: Domain, user_id: str) -> tuple[Device, ...]:
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT * FROM devices WHERE user_id = $1 ORDER BY created_at LIMIT 100", user_id
        )
    return tuple(_device(row) for row in rows)


async def remove_device(d: Domain, user_id: str, device_id: str) -> None:
    """Raises NOT_FOUND when it is not the caller's."""
    async with acquire(d.pool) as conn:
        gone = await conn.fetchval(
            "DELETE FROM devices WHERE user_id = $1 AND id::text = $2 RETURNING id",
            user_id,
            device_id,
        )
    if gone is None:
        raise not_found("device")


def _device(row: Row) -> Device:
    return Device(
        id=str(row["id"]),
        platform=row["platform"],
        environment=row["environment"],
        app_version=row["app_version"],
        locale=row["locale"],
        created_at=row["created_at"],
        disabled_reason=row["disabled_reason"],
    )
