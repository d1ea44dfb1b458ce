"""Devices: the phones and browsers a person is pushed on."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import conflict, invalid, not_found
from protocol.jobs import device_test_job
from protocol.rest.devices import Device, DeviceRequest, DeviceTest
from protocol.texts import language_of
from protocol.web_push import read_subscription

DEVICES_MAX: Final = 20
"""Of one person: an app that registers a new token at each start, or somebody who makes tokens up,
would otherwise get as many pushes for each notification."""


async def add_device(d: Domain, change: Change, user_id: str, form: DeviceRequest) -> Device:
    """A known token moves to the caller: the phone has a new owner.

    Of more than DEVICES_MAX the ones registered longest ago go, the disabled ones first. Raises
    INVALID_PAYLOAD for a browser's end point at a push service that we do not send to.
    """
    if form.platform == "web" and not d.policy.push_services.take(read_subscription(form.token)):
        raise invalid("the subscription's endpoint is at no push service that we send to")
    conn = change.conn
    await members.ensure(d, conn, user_id)
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


async def remove_device(change: Change, user_id: str, device_id: str) -> None:
    """Raises NOT_FOUND when it is not the caller's."""
    gone = await change.conn.fetchval(
        "DELETE FROM devices WHERE user_id = $1 AND id::text = $2 RETURNING id",
        user_id,
        device_id,
    )
    if gone is None:
        raise not_found("device")


async def test_device(change: Change, user_id: str, device_id: str) -> DeviceTest:
    """A worker pushes to this one device; no rule is asked, for its person does.

    Raises NOT_FOUND when it is not the caller's, CONFLICT for one that is disabled.
    """
    row = await change.conn.fetchrow(
        "SELECT disabled_at FROM devices WHERE user_id = $1 AND id::text = $2", user_id, device_id
    )
    if row is None:
        raise not_found("device")
    if row["disabled_at"] is not None:
        raise conflict("The device is disabled: its token was refused. Register it again.")
    told = DeviceTest(notification_id=str(uuid4()))
    change.enqueue(device_test_job(device_id, user_id, told.notification_id))
    return told


@dataclass(frozen=True, slots=True)
class Reached:
    """A device as it is pushed to; `address` is its token, and in no repr."""

    id: UUID
    address: str = field(repr=False)
    platform: str
    environment: str
    locale: str
    registered_at: datetime


async def reached(conn: Connection, user_id: str, device_id: str) -> Reached | None:
    """None for one that is gone, disabled, or somebody else's meanwhile. Its language is its
    person's where it has none."""
    row = await conn.fetchrow(
        "SELECT v.*, u.locale AS spoken FROM devices v JOIN users u ON u.id = v.user_id"
        " WHERE v.user_id = $1 AND v.id::text = $2 AND v.disabled_at IS NULL",
        user_id,
        device_id,
    )
    if row is None:
        return None
    return Reached(
        id=row["id"],
        address=row["token"],
        platform=row["platform"],
        environment=row["environment"],
        locale=language_of(row["locale"], row["spoken"]),
        registered_at=row["last_seen_at"],
    )


async def give_up(
    conn: Connection, device_id: UUID, registered_at: datetime, now: datetime
) -> None:
    """A provider says that its token is dead; one that was registered again meanwhile lives."""
    await conn.execute(
        "UPDATE devices SET disabled_at = $3, disabled_reason = 'token_dead'"
        " WHERE id = $1 AND last_seen_at = $2 AND disabled_at IS NULL",
        device_id,
        registered_at,
        now,
    )


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
