"""Orders: what a sender is to hand over for one notification, to whom, and in which language."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from hub.domain.notifications.case import Case
from hub.domain.people import members
from hub.domain.rules.kinds import Channel
from hub.domain.rules.ladder import Send
from hub.domain.rules.reasons import Cause
from hub.plumbing.stores.postgres import Connection, Row
from protocol.texts import DEFAULT_LANGUAGE, language_of

MOST_DEVICES: Final = 20
_OWN_ADDRESS: Final[Mapping[Channel, str]] = {
    Channel.EMAIL: "email",
    Channel.KAKAO: "kakao_user_key",
}
"""The column of users with a person's address on a channel without devices."""


class Target(Struct, frozen=True):
    """One row of deliveries that this process has claimed; address is a device's token, a mail
    address or a messenger's key, empty where the device is gone. `title` and `body` are in the
    language of `locale`.

    `attempts` and `registered_at` (of the device's registration) say what an outcome is about: a
    row claimed again, or a token registered again, is something else.
    """

    id: UUID
    address: str
    platform: str
    environment: str
    locale: str
    attempts: int
    device_id: UUID | None
    registered_at: datetime | None
    title: str
    body: str


class Order(Struct, frozen=True):
    """What a sender is to do now for one notification. `collapse_id`: what has the same one
    replaces it on a phone's screen. `check_at`: when to look at it again if all of it is sent now;
    None: that is to be found out then.
    """

    channel: Channel
    cause: Cause
    notification_id: UUID
    created_at: datetime
    user_id: str
    kind: str
    data: dict[str, Any]
    question_id: str | None
    answer_id: str | None
    deadline_at: datetime | None
    unread: int
    urgent: bool
    collapse_id: str
    timezone: str
    check_at: datetime | None
    targets: Sequence[Target]


class Addressee(Struct, frozen=True):
    """A device, or a person's one address (without a platform), as it stands now."""

    device_id: UUID | None
    address: str
    platform: str
    environment: str
    locale: str | None
    registered_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Addressee":
        return cls(
            device_id=row["device_id"],
            address=row["address"] or "",
            platform=row["platform"],
            environment=row["environment"],
            locale=row["locale"],
            registered_at=row["registered_at"],
        )


class Claimed(Struct, frozen=True):
    """A delivery that this process claimed; `addressee` is None where the device is gone."""

    id: UUID
    attempts: int
    device_id: UUID | None
    addressee: Addressee | None


async def addressees(
    conn: Connection, users: Sequence[str], channel: Channel
) -> dict[str, list[Addressee]]:
    """Devices (the last seen first), or the one address, of people."""
    own = _OWN_ADDRESS.get(channel)
    if own is not None:
        rows = await conn.fetch(
            f"SELECT id AS user_id, NULL::uuid AS device_id, {own} AS address, '' AS platform,"  # noqa: S608 - a constant
            " '' AS environment, NULL AS locale, NULL::timestamptz AS registered_at"
            " FROM users WHERE id = ANY($1::text[])",
            list(users),
        )
    else:
        rows = await conn.fetch(
            "SELECT w.user_id, v.* FROM unnest($1::text[]) AS w (user_id) CROSS JOIN LATERAL"
            " (SELECT id AS device_id, token AS address, platform, environment, locale,"
            "  last_seen_at AS registered_at FROM devices WHERE user_id = w.user_id"
            "  AND disabled_at IS NULL ORDER BY last_seen_at DESC LIMIT $2) v",
            list(users),
            MOST_DEVICES,
        )
    found: dict[str, list[Addressee]] = {}
    for row in rows:
        found.setdefault(row["user_id"], []).append(Addressee.of(row))
    return found


async def orders_of(
    conn: Connection, due: Sequence[tuple[Case, Send, datetime | None, Sequence[Claimed]]]
) -> list[Order | None]:
    """None for whom nothing was claimed."""
    by_address = [case for case, step, *_ in due if step.channel in _OWN_ADDRESS]
    users = [case.notification.user_id for case in by_address]
    spoken = await members.locales_of(conn, users) if users else {}
    return [
        _order_of(
            case, step, check_at, claimed, spoken.get(case.notification.user_id, DEFAULT_LANGUAGE)
        )
        if claimed
        else None
        for case, step, check_at, claimed in due
    ]


def _order_of(
    case: Case,
    step: Send,
    check_at: datetime | None,
    claimed: Sequence[Claimed],
    by_address: str,
) -> Order:
    """`by_address`: what the person speaks, where no device says it."""
    one = case.notification
    spoken = by_address if step.channel in _OWN_ADDRESS else case.locale
    return Order(
        channel=step.channel,
        cause=step.cause,
        notification_id=one.id,
        created_at=one.created_at,
        user_id=one.user_id,
        kind=one.kind_name,
        data=one.data,
        question_id=one.question_id,
        answer_id=one.answer_id,
        deadline_at=case.deadline_at,
        unread=case.unread,
        urgent=one.kind.urgent,
        collapse_id=one.collapse_id,
        timezone=case.timezone,
        check_at=check_at,
        targets=[_target(case, this, spoken) for this in claimed],
    )


def _target(case: Case, claimed: Claimed, spoken: str) -> Target:
    """The device's language decides, then its person's."""
    there = claimed.addressee
    language = language_of(there.locale if there else None, spoken)
    title, body = case.notification.texts(language)
    return Target(
        id=claimed.id,
        address=there.address if there else "",
        platform=there.platform if there else "",
        environment=there.environment if there else "",
        locale=language,
        attempts=claimed.attempts,
        device_id=claimed.device_id,
        registered_at=there.registered_at if there else None,
        title=title,
        body=body,
    )
