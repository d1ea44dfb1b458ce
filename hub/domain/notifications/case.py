"""A case: one notification with all that the rules ask about it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.domain.context import Domain
from hub.domain.notifications import wakes
from hub.domain.notifications.inbox import UNREAD
from hub.domain.notifications.notification import Notification
from hub.domain.people import members
from hub.domain.places import geometry
from hub.domain.rules.kinds import CHANNELS, Channel, Needs, Topic
from hub.domain.rules.ladder import Delivery, Facts, Reach
from hub.domain.rules.quiet import QuietHours, zone_of
from hub.domain.rules.states import DeliveryStatus, QuestionStatus
from hub.plumbing.stores.postgres import Connection, Row
from protocol.mail_address import comparison_key


@dataclass(frozen=True, slots=True)
class Case:
    """`switched_on` are the channels, `topics` the topics that the person wants. `blocked`: nothing
    passes between them and whoever asked or answered. `muted`, `outside_radius`: of an urgent one,
    as they want it now.
    """

    notification: Notification
    email: str | None
    messenger_key: str | None
    locale: str
    timezone: str
    person_erased: bool
    switched_on: frozenset[Channel]
    topics: frozenset[Topic]
    blocked: bool
    muted: bool
    outside_radius: bool
    quiet: QuietHours | None
    urgent_in_quiet: bool
    question_status: QuestionStatus | None
    question_answered: bool
    question_deadline_at: datetime | None
    unread: int

    @classmethod
    def of(cls, row: Row) -> "Case":
        switches = {
            Channel.PUSH: row["push_enabled"],
            Channel.KAKAO: row["kakao_enabled"],
            Channel.EMAIL: row["email_enabled"],
        }
        topics = {
            Topic.URGENT: row["urgent_enabled"],
            Topic.ANSWER: row["answer_enabled"],
            Topic.DIGEST: row["digest_enabled"],
        }
        status = row["question_status"]
        return cls(
            notification=Notification.of(row),
            email=row["email"],
            messenger_key=row["kakao_user_key"],
            locale=row["locale"],
            timezone=row["timezone"],
            person_erased=row["user_deleted_at"] is not None,
            switched_on=frozenset(channel for channel, on in switches.items() if on),
            topics=frozenset(topic for topic, on in topics.items() if on),
            blocked=row["blocked"],
            muted=row["question_neighbourhood"] in row["muted_neighbourhoods"],
            outside_radius=_is_outside(row),
            quiet=quiet_hours_of(row),
            urgent_in_quiet=row["urgent_in_quiet"],
            question_status=None if status is None else QuestionStatus(status),
            question_answered=row["first_answer_at"] is not None,
            question_deadline_at=row["deadline_at"],
            unread=row["unread"],
        )

    @property
    def deadline_at(self) -> datetime | None:
        """Of an urgent one its question's, of any other its own."""
        one = self.notification
        return self.question_deadline_at if one.kind.urgent else one.expires_at

    async def facts(self, d: Domain, conn: Connection) -> Facts:
        one, kind = self.notification, self.notification.kind
        deliveries = await _deliveries(conn, one.id)
        woken = await self._wakes(d, conn) if kind.urgent else wakes.NONE
        return Facts(
            kind=kind,
            created_at=one.created_at,
            timers=d.policy.timers(kind.pace),
            acknowledged=one.acknowledged_at is not None,
            seen=one.seen_at is not None or one.read_at is not None,
            gone=self.person_erased or one.deleted_at is not None or one.retracted_at is not None,
            question_status=self.question_status,
            question_answered=self.question_answered,
            deadline_at=self.deadline_at,
            had_socket=any(delivery.channel is Channel.SOCKET for delivery in deliveries),
            topic_on=kind.topic is None or kind.topic in self.topics,
            blocked=self.blocked,
            muted=kind.urgent and self.muted,
            outside_radius=kind.urgent and self.outside_radius,
            quiet=None if kind.urgent and self.urgent_in_quiet else self.quiet,
            capped=woken.used_up(d.policy),
            pause_until=woken.pause_until(d.policy),
            reach=await self._reach(conn),
            deliveries=deliveries,
        )

    async def _wakes(self, d: Domain, conn: Connection) -> wakes.Wakes:
        """By other questions. Those of one person follow each other, or two jobs at once would
        both find that nothing was sent."""
        user_id = self.notification.user_id
        await conn.execute(
            "SELECT FROM notification_preferences WHERE user_id = $1 FOR NO KEY UPDATE", user_id
        )
        found = await wakes.of(conn, [user_id], d.now(), but=self.notification.id)
        return found.get(user_id, wakes.NONE)

    async def _reach(self, conn: Connection) -> dict[Channel, Reach]:
        row = await conn.fetchrow(
            "SELECT EXISTS (SELECT FROM devices WHERE user_id = $1 AND disabled_at IS NULL)"  # noqa: S608 - constants
            " AS device, EXISTS (SELECT FROM suppressions"
            f" WHERE address IN ($2, {members.HASHED.format('$2')})) AS suppressed",
            self.notification.user_id,
            comparison_key(self.email or ""),
        )
        assert row is not None
        chosen = self.notification.chosen
        there = {
            Needs.DEVICE: row["device"],
            Needs.ADDRESS: bool(self.email),
            Needs.MESSENGER: bool(self.messenger_key),
        }
        return {
            channel: Reach(
                on=channel in self.switched_on and channel in (chosen or CHANNELS),
                there=there[CHANNELS[channel].needs],
                suppressed=CHANNELS[channel].needs is Needs.ADDRESS and row["suppressed"],
            )
            for channel in self.notification.kind.channels
        }


async def load(
    conn: Connection, notification_id: UUID, created_at: datetime, now: datetime
) -> Case | None:
    """The notification, locked: two jobs for it follow the rules one after the other."""
    row = await conn.fetchrow(
        "SELECT n.*, u.email, u.kakao_user_key, u.locale, u.timezone,"  # noqa: S608 - a constant
        " u.deleted_at AS user_deleted_at, p.push_enabled, p.kakao_enabled, p.email_enabled,"
        " p.urgent_enabled, p.answer_enabled, p.digest_enabled, p.muted_neighbourhoods,"
        " p.radius_m, p.quiet_from, p.quiet_to, p.urgent_in_quiet, l.cell,"
        " q.neighbourhood_code AS question_neighbourhood, q.lat, q.lng, EXISTS (SELECT FROM blocks"
        "  b LEFT JOIN answers a ON a.id = n.answer_id WHERE b.user_id = n.user_id"
        "  AND b.blocked_id IN (q.user_id, a.user_id) OR b.blocked_id = n.user_id"
        "  AND b.user_id IN (q.user_id, a.user_id)) AS blocked,"
        " q.status AS question_status, q.first_answer_at, q.deadline_at,"
        f" {UNREAD.format(now='$3')} AS unread"
        " FROM notifications n JOIN users u ON u.id = n.user_id"
        " JOIN notification_preferences p ON p.user_id = u.id"
        " JOIN inbox_heads h ON h.user_id = u.id LEFT JOIN questions q ON q.id = n.question_id"
        " LEFT JOIN user_locations l ON l.user_id = u.id AND l.expires_at > $3"
        " WHERE n.id = $1 AND n.created_at = $2 FOR UPDATE OF n",
        notification_id,
        created_at,
        now,
    )
    return None if row is None else Case.of(row)


def quiet_hours_of(row: Row) -> QuietHours | None:
    """Of a row with a person's `quiet_from`, `quiet_to` and `timezone`."""
    if row["quiet_from"] is None:
        return None
    return QuietHours(row["quiet_from"], row["quiet_to"], zone_of(row["timezone"]))


def _is_outside(row: Row) -> bool:
    """Whether a question is farther away than its person wants to be woken for; not where nobody
    knows where one of the two is."""
    if row["lat"] is None or row["cell"] is None:
        return False
    away_m = geometry.distance_to_cell_m(row["lat"], row["lng"], row["cell"])
    return bool(away_m > row["radius_m"])


async def _deliveries(conn: Connection, notification_id: UUID) -> list[Delivery]:
    rows = await conn.fetch(
        "SELECT channel, status, lease_until FROM deliveries WHERE notification_id = $1",
        notification_id,
    )
    return [
        Delivery(Channel(row["channel"]), DeliveryStatus(row["status"]), row["lease_until"])
        for row in rows
    ]
