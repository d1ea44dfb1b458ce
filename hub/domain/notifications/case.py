"""A case: one notification with all that the rules ask about it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.domain.context import Domain
from hub.domain.notifications.inbox import UNREAD
from hub.domain.notifications.notification import Notification
from hub.domain.people import members
from hub.domain.rules.kinds import CHANNELS, Channel, Needs, Topic
from hub.domain.rules.ladder import Delivery, Facts, Reach
from hub.domain.rules.states import DeliveryStatus, QuestionStatus
from hub.plumbing.stores.postgres import Connection, Row
from protocol.mail_address import comparison_key


@dataclass(frozen=True, slots=True)
class Case:
    """`switched_on` are the channels, `topics` the topics that the person wants."""

    notification: Notification
    email: str | None
    messenger_key: str | None
    locale: str
    timezone: str
    person_erased: bool
    switched_on: frozenset[Channel]
    topics: frozenset[Topic]
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
            reach=await self._reach(conn),
            deliveries=deliveries,
        )

    async def _reach(self, conn: Connection) -> dict[Channel, Reach]:
        row = await conn.fetchrow(
            "SELECT EXISTS (SELECT FROM devices WHERE user_id = $1 AND disabled_at IS NULL)"  # noqa: S608 - constants
            " AS device, EXISTS (SELECT FROM suppressions"
            f" WHERE address IN ($2, {members.HASHED.format('$2')})) AS suppressed",
            self.notification.user_id,
            comparison_key(self.email or ""),
        )
        assert row is not None
        there = {
            Needs.DEVICE: row["device"],
            Needs.ADDRESS: bool(self.email),
            Needs.MESSENGER: bool(self.messenger_key),
        }
        return {
            channel: Reach(
                on=channel in self.switched_on,
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
        " p.urgent_enabled, p.answer_enabled, p.digest_enabled,"
        " q.status AS question_status, q.first_answer_at, q.deadline_at,"
        f" {UNREAD.format(now='$3')} AS unread"
        " FROM notifications n JOIN users u ON u.id = n.user_id"
        " JOIN notification_preferences p ON p.user_id = u.id"
        " JOIN inbox_heads h ON h.user_id = u.id LEFT JOIN questions q ON q.id = n.question_id"
        " WHERE n.id = $1 AND n.created_at = $2 FOR UPDATE OF n",
        notification_id,
        created_at,
        now,
    )
    return None if row is None else Case.of(row)


async def _deliveries(conn: Connection, notification_id: UUID) -> list[Delivery]:
    rows = await conn.fetch(
        "SELECT channel, status, lease_until FROM deliveries WHERE notification_id = $1",
        notification_id,
    )
    return [
        Delivery(Channel(row["channel"]), DeliveryStatus(row["status"]), row["lease_until"])
        for row in rows
    ]
