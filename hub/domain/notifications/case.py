"""A case: one notification with all that the rules ask about it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

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


class Case(Struct, frozen=True):
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
        """Of an urgent one its question's, of any other its own, and of one whose question another
        region holds."""
        one = self.notification
        if one.kind.urgent and self.question_deadline_at is not None:
            return self.question_deadline_at
        return one.expires_at

    def facts(
        self, d: Domain, tried: Sequence[Delivery], woken: wakes.Wakes, there: "There"
    ) -> Facts:
        one, kind = self.notification, self.notification.kind
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
            had_socket=any(delivery.channel is Channel.SOCKET for delivery in tried),
            topic_on=kind.topic is None or kind.topic in self.topics,
            blocked=self.blocked,
            muted=kind.urgent and self.muted,
            outside_radius=kind.urgent and self.outside_radius,
            quiet=None if kind.urgent and self.urgent_in_quiet else self.quiet,
            capped=woken.used_up(d.policy),
            pause_until=woken.pause_until(d.policy),
            reach=self._reach(there),
            deliveries=tried,
        )

    def _reach(self, there: "There") -> dict[Channel, Reach]:
        chosen = self.notification.chosen
        has = {
            Needs.DEVICE: there.device,
            Needs.ADDRESS: bool(self.email),
            Needs.MESSENGER: bool(self.messenger_key),
        }
        return {
            channel: Reach(
                on=channel in self.switched_on and channel in (chosen or CHANNELS),
                there=has[CHANNELS[channel].needs],
                suppressed=CHANNELS[channel].needs is Needs.ADDRESS and there.suppressed,
            )
            for channel in self.notification.kind.channels
        }


class There(NamedTuple):
    """Of one person: whether they have a device, and whether no mail is sent to their address."""

    device: bool
    suppressed: bool


async def facts_of(d: Domain, conn: Connection, cases: Sequence[Case]) -> list[Facts]:
    """What the rules ask, of cases of different people, as it stands now."""
    tried = await _deliveries(conn, cases)
    woken = await _wakes(d, conn, [one for one in cases if one.notification.kind.urgent])
    there = await _there(conn, cases)
    return [
        case.facts(
            d,
            tried.get(case.notification.id, ()),
            woken.get(case.notification.user_id, wakes.NONE),
            there[case.notification.user_id],
        )
        for case in cases
    ]


async def _wakes(d: Domain, conn: Connection, cases: Sequence[Case]) -> dict[str, wakes.Wakes]:
    """By other questions. Those of one person follow each other, or two jobs at once would both
    find that nothing was sent."""
    if not cases:
        return {}
    users = [case.notification.user_id for case in cases]
    await conn.execute(
        "SELECT FROM notification_preferences WHERE user_id = ANY($1::text[]) ORDER BY user_id"
        " FOR NO KEY UPDATE",
        users,
    )
    return await wakes.of(conn, users, d.now(), but=[case.notification.id for case in cases])


async def _there(conn: Connection, cases: Sequence[Case]) -> dict[str, There]:
    rows = await conn.fetch(
        "SELECT w.user_id, EXISTS (SELECT FROM devices v WHERE v.user_id = w.user_id"  # noqa: S608 - constants
        " AND v.disabled_at IS NULL) AS device, EXISTS (SELECT FROM suppressions"
        f" WHERE address IN (w.address, {members.HASHED.format('w.address')})) AS suppressed"
        " FROM unnest($1::text[], $2::text[]) AS w (user_id, address)",
        [case.notification.user_id for case in cases],
        [comparison_key(case.email or "") for case in cases],
    )
    return {row["user_id"]: There(row["device"], row["suppressed"]) for row in rows}


async def load(
    conn: Connection, wanted: Sequence[tuple[UUID, datetime]], now: datetime, *, wait: bool
) -> dict[UUID, Case]:
    """Notifications (id, created_at), locked: two jobs for one follow the rules one after the
    other. Those that are not there are left out, and without `wait` those that somebody holds: who
    waits for nobody can hold many, in whatever order others do.
    """
    rows = await conn.fetch(
        "SELECT n.*, u.email, u.kakao_user_key, u.locale, u.timezone,"  # noqa: S608 - constants
        " u.deleted_at AS user_deleted_at, p.push_enabled, p.kakao_enabled, p.email_enabled,"
        " p.urgent_enabled, p.answer_enabled, p.digest_enabled, p.muted_neighbourhoods,"
        " p.radius_m, p.quiet_from, p.quiet_to, p.urgent_in_quiet, l.cell,"
        " q.neighbourhood_code AS question_neighbourhood, q.lat, q.lng, EXISTS (SELECT FROM blocks"
        "  b LEFT JOIN answers a ON a.id = n.answer_id WHERE b.user_id = n.user_id"
        "  AND b.blocked_id IN (q.user_id, a.user_id) OR b.blocked_id = n.user_id"
        "  AND b.user_id IN (q.user_id, a.user_id)) AS blocked,"
        " q.status AS question_status, q.first_answer_at, q.deadline_at,"
        f" {UNREAD.format(now='$3')} AS unread"
        " FROM unnest($1::uuid[], $2::timestamptz[]) AS w (id, created_at)"
        " JOIN notifications n ON n.id = w.id AND n.created_at = w.created_at"
        " JOIN users u ON u.id = n.user_id JOIN notification_preferences p ON p.user_id = u.id"
        " JOIN inbox_heads h ON h.user_id = u.id LEFT JOIN questions q ON q.id = n.question_id"
        " LEFT JOIN user_locations l ON l.user_id = u.id AND l.expires_at > $3"
        f" FOR UPDATE OF n {'' if wait else 'SKIP LOCKED'}",
        [id for id, _ in wanted],
        [created_at for _, created_at in wanted],
        now,
    )
    return {row["id"]: Case.of(row) for row in rows}


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


async def _deliveries(conn: Connection, cases: Sequence[Case]) -> dict[UUID, list[Delivery]]:
    rows = await conn.fetch(
        "SELECT notification_id, channel, status, lease_until FROM deliveries"
        " WHERE notification_id = ANY($1::uuid[])",
        [case.notification.id for case in cases],
    )
    found: dict[UUID, list[Delivery]] = {}
    for row in rows:
        one = Delivery(Channel(row["channel"]), DeliveryStatus(row["status"]), row["lease_until"])
        found.setdefault(row["notification_id"], []).append(one)
    return found
