"""Recall: the phones that show a push whose notification is over, for the worker that clears them.

Only a device that a delivery of this notification names, and that is still the person's own, is
asked for; once it was handed the silent message, its delivery says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from hub.domain.context import Domain
from hub.domain.notifications.inbox import UNREAD
from hub.domain.notifications.notification import Notification
from hub.domain.people import devices
from hub.domain.rules.states import ARRIVED
from hub.plumbing.stores.postgres import acquire

KEPT_FOR: Final = timedelta(hours=1)
"""How long a provider may keep a silent message for a phone that is off."""


@dataclass(frozen=True, slots=True)
class Screen:
    """One device that shows the push. `message_id`: of the silent message, the same for every try;
    `address` is the device's token, and in no repr."""

    delivery_id: UUID
    message_id: UUID
    device_id: UUID
    address: str = field(repr=False)
    platform: str
    environment: str
    locale: str | None
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class Recall:
    """A notification that is over. `unread`: of its person, for the badge."""

    notification: Notification
    unread: int
    until: datetime
    screens: Sequence[Screen]


async def recall(d: Domain, notification_id: UUID, created_at: datetime) -> Recall | None:
    """Where it is still shown; None when it is nowhere, or is not over."""
    async with acquire(d.pool) as conn:
        row = await conn.fetchrow(
            f"SELECT n.*, {UNREAD.format(now='$3')} AS unread FROM notifications n"  # noqa: S608 - a constant
            " JOIN inbox_heads h ON h.user_id = n.user_id WHERE n.id = $1 AND n.created_at = $2"
            " AND coalesce(n.retracted_at, n.seen_at, n.read_at, n.deleted_at) IS NOT NULL",
            notification_id,
            created_at,
            d.now(),
        )
        if row is None:
            return None
        screens = await conn.fetch(
            "SELECT x.id, v.id AS device_id, v.token, v.platform, v.environment, v.locale,"
            " v.last_seen_at FROM deliveries x JOIN devices v ON v.id = x.device_id"
            " AND v.user_id = x.user_id AND v.disabled_at IS NULL"
            " WHERE x.notification_id = $1 AND x.created_at = $2 AND x.channel = 'push'"
            " AND x.status = ANY($3::text[]) AND x.retracted_at IS NULL",
            notification_id,
            created_at,
            list(ARRIVED),
        )
    if not screens:
        return None
    found = [
        Screen(
            delivery_id=one["id"],
            message_id=uuid5(one["id"], "retraction"),
            device_id=one["device_id"],
            address=one["token"],
            platform=one["platform"],
            environment=one["environment"],
            locale=one["locale"],
            registered_at=one["last_seen_at"],
        )
        for one in screens
    ]
    return Recall(Notification.of(row), row["unread"], d.now() + KEPT_FOR, found)


async def cleared(d: Domain, told: Recall, screen: Screen) -> None:
    """The provider has the silent message."""
    async with acquire(d.pool) as conn:
        await conn.execute(
            "UPDATE deliveries SET retracted_at = $3 WHERE id = $1 AND created_at = $2",
            screen.delivery_id,
            told.notification.created_at,
            d.now(),
        )


async def gave_up(d: Domain, screen: Screen) -> None:
    """The provider says that the device exists no more."""
    async with acquire(d.pool) as conn:
        await devices.give_up(conn, screen.device_id, screen.registered_at, d.now())
