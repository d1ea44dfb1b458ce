"""Orders: what a sender is to hand over for one notification, to whom, and in which language."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hub.domain import members
from hub.domain.inbox import URGENT_KIND
from hub.domain.rules import Send
from hub.plumbing.stores.postgres import Connection, Row, from_json
from protocol.jobs import Channel
from protocol.texts import language_of, render_push

MOST_DEVICES = 20
_OWN_ADDRESS: Final[dict[Channel, str]] = {"email": "email", "kakao": "kakao_user_key"}
"""The column of users with a person's address on a channel without devices."""


@dataclass(frozen=True, slots=True)
class Target:
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


@dataclass(frozen=True, slots=True)
class Order:
    """What a sender is to do now for one notification."""

    channel: Channel
    reason: str
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
    timezone: str
    targets: Sequence[Target]


async def addressees(conn: Connection, row: Row, channel: Channel) -> list[Row]:
    """Devices (the last seen first), or the one address, of a notification's person."""
    own = _OWN_ADDRESS.get(channel)
    if own is not None:
        return list(
            await conn.fetch(
                f"SELECT NULL::uuid AS device_id, {own} AS address, '' AS platform,"  # noqa: S608 - a constant
                " '' AS environment, NULL AS locale, NULL::timestamptz AS registered_at"
                " FROM users WHERE id = $1",
                row["user_id"],
            )
        )
    return list(
        await conn.fetch(
            "SELECT id AS device_id, token AS address, platform, environment, locale,"
            " last_seen_at AS registered_at FROM devices WHERE user_id = $1"
            " AND disabled_at IS NULL ORDER BY last_seen_at DESC LIMIT $2",
            row["user_id"],
            MOST_DEVICES,
        )
    )


async def order_of(
    conn: Connection, row: Row, step: Send, claimed: Sequence[tuple[Row, Row | None]]
) -> Order:
    """`row` is the notification with its person and question; `claimed`: deliveries beside their
    addressees, None where the device is gone meanwhile."""
    urgent = row["kind"] == URGENT_KIND
    spoken = row["locale"]
    if step.channel in _OWN_ADDRESS:
        spoken = await members.locale_of(conn, row["user_id"])
    return Order(
        channel=step.channel,
        reason=step.reason,
        notification_id=row["id"],
        created_at=row["created_at"],
        user_id=row["user_id"],
        kind=row["kind"],
        data=from_json(row["data"]),
        question_id=row["question_id"],
        answer_id=row["answer_id"],
        deadline_at=row["deadline_at"] if urgent else row["expires_at"],
        unread=row["unread"],
        urgent=urgent,
        timezone=row["timezone"],
        targets=[_target(row, one, target, spoken) for one, target in claimed],
    )


def _target(row: Row, one: Row, addressee: Row | None, spoken: str) -> Target:
    """The device's language decides, then its person's."""
    language = language_of(addressee["locale"] if addressee else None, spoken)
    title, body = _texts(row, language)
    return Target(
        id=one["id"],
        address=(addressee["address"] or "") if addressee else "",
        platform=addressee["platform"] if addressee else "",
        environment=addressee["environment"] if addressee else "",
        locale=language,
        attempts=one["attempts"],
        device_id=one["device_id"],
        registered_at=addressee["registered_at"] if addressee else None,
        title=title,
        body=body,
    )


def _texts(row: Row, language: str) -> tuple[str, str]:
    """What a service wrote is nobody's to translate; our own sentences are written anew."""
    if row["words"] is None:
        return row["title"], row["body"]
    return render_push(row["kind"], language, from_json(row["words"]))
