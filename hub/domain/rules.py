"""Who is told when, over which channel, and why. Pure: facts and the time come in, a decision with
its reason goes out. The states of an urgent question and the reasons are closed tables; pages that
explain them are printed from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from protocol.jobs import Channel


class Reason(StrEnum):
    """Why something was withheld. The list is closed."""

    NOT_CONFIGURED = "not_configured"
    CHANNEL_OFF = "channel_off"
    TOPIC_OFF = "topic_off"
    MUTED = "muted"
    BLOCKED = "blocked"
    QUIET_HOURS = "quiet_hours"
    CAP_PERSON = "cap_person"
    CAP_WAVE = "cap_wave"
    OUTSIDE_RADIUS = "outside_radius"
    NO_POSITION = "no_position"
    POSITION_EXPIRED = "position_expired"
    ASKER = "asker"
    TOLD_BEFORE = "told_before"
    ACKNOWLEDGED = "acknowledged"
    SEEN = "seen"
    ANSWERED = "answered"
    CLOSED = "closed"
    EXPIRED = "expired"
    NO_DEVICE = "no_device"
    TOKEN_DEAD = "token_dead"  # noqa: S105 - the name of a reason
    ADDRESS_SUPPRESSED = "address_suppressed"
    BREAKER_OPEN = "breaker_open"
    ERASED = "erased"


URGENT_STATES: Final[dict[str, frozenset[str]]] = {
    "open": frozenset({"wave", "answered", "closed", "expired"}),
    "wave": frozenset({"wave", "claimed", "answered", "closed", "expired"}),
    "claimed": frozenset({"wave", "claimed", "answered", "closed", "expired"}),
    "answered": frozenset({"wave", "closed"}),
    "closed": frozenset(),
    "expired": frozenset({"answered", "closed"}),
}
"""From a state of an urgent question to those that may follow."""

EMAIL_NEEDS_LEFT: Final = timedelta(seconds=60)
"""An urgent question is mailed only while this much of its time remains."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A channel's place in the ladder: what stands above it is settled first.

    `at_once`: due as soon as there is a notification, or when a socket that was told it has had its
    time; otherwise due after the email's timer. `acknowledgement_ends`: also what is not urgent.
    `needs_left`: of an urgent question's time. `stands_in_for`: sent only where that one was not.
    `optional`: nothing is written about it where the person has not switched it on.
    """

    channel: Channel
    word: str
    at_once: bool
    acknowledgement_ends: bool
    needs_left: timedelta = timedelta(0)
    stands_in_for: Channel | None = None
    optional: bool = False


LADDER: Final = (
    Rung("push", "a push", at_once=True, acknowledgement_ends=True),
    Rung(
        "kakao",
        "a message",
        at_once=True,
        acknowledgement_ends=True,
        stands_in_for="push",
        optional=True,
    ),
    Rung("email", "a mail", at_once=False, acknowledgement_ends=False, needs_left=EMAIL_NEEDS_LEFT),
)
"""From the first channel to the last."""

ARRIVED: Final = frozenset({"sent", "delivered", "seen"})
FINAL: Final = frozenset({"sent", "delivered", "seen", "failed", "suppressed", "expired"})


@dataclass(frozen=True, slots=True)
class Timers:
    """From the notification to the push, and to the email (seconds; 0 = no email)."""

    push: int
    email: int


@dataclass(frozen=True, slots=True)
class Delivery:
    channel: str
    status: str
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides the next step for one notification of one person."""

    urgent: bool
    created_at: datetime
    timers: Timers
    acknowledged: bool = False
    seen: bool = False
    gone: bool = False
    """Deleted, retracted, or its person erased."""
    question_status: str | None = None
    question_answered: bool = False
    deadline_at: datetime | None = None
    had_socket: bool = False
    only: Channel | None = None
    """The one channel it goes on, at once; the others are not asked."""
    topic_on: bool = True
    push_on: bool = True
    kakao_on: bool = False
    email_on: bool = True
    has_device: bool = False
    has_kakao: bool = False
    has_address: bool = False
    address_suppressed: bool = False
    deliveries: Sequence[Delivery] = ()


@dataclass(frozen=True, slots=True)
class Done:
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    channel: Channel
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    channel: Channel
    reason: Reason


Step = Done | Wait | Send | Suppress


def next_step(facts: Facts, now: datetime) -> Step:
    """What to do next: the first rung of the ladder that is not settled."""
    for rung in LADDER:
        tried = _of(facts, rung.channel)
        if facts.only not in (None, rung.channel):
            continue
        if rung.optional and not tried and not _reach(facts, rung.channel).on:
            continue
        if not tried or not all(delivery.status in FINAL for delivery in tried):
            return _step(facts, rung, tried, now)
    return Done("every channel is settled")


def ended(facts: Facts, now: datetime) -> Reason | None:
    """What ends everything that is pending, on every channel."""
    if facts.gone:
        return Reason.ERASED
    if facts.urgent and facts.question_answered:
        return Reason.ANSWERED
    if facts.question_status in ("closed", "deleted") and facts.urgent:
        return Reason.CLOSED
    if facts.deadline_at is not None and now >= facts.deadline_at:
        return Reason.EXPIRED
    if facts.seen:
        return Reason.SEEN
    return None


def _step(facts: Facts, rung: Rung, tried: Sequence[Delivery], now: datetime) -> Step:
    reason = ended(facts, now) or _withheld(facts, rung)
    if reason:
        return Suppress(rung.channel, reason)
    leased = _leased_until(tried, now)
    if leased:
        return Wait(leased, f"{rung.word} is being sent")
    after_s = _after_s(facts, rung)
    due = facts.created_at + timedelta(seconds=after_s)
    last = facts.deadline_at - rung.needs_left if facts.urgent and facts.deadline_at else None
    if rung.needs_left and last is not None and max(now, due) > last:
        return Suppress(rung.channel, Reason.EXPIRED)
    if now < due:
        told = "a socket was told; " if rung.at_once else ""
        return Wait(due, f"{told}{rung.channel} after {after_s} s")
    if rung.at_once:
        return Send(rung.channel, f"unseen {after_s} s" if facts.had_socket else "no live socket")
    word = "unacknowledged" if facts.urgent else "unseen"
    return Send(rung.channel, f"{word} {after_s} s")


def _after_s(facts: Facts, rung: Rung) -> int:
    """From the notification to its sending on this channel."""
    if facts.only is not None:
        return 0
    if rung.at_once:
        return facts.timers.push if facts.had_socket else 0
    return facts.timers.email


def _withheld(facts: Facts, rung: Rung) -> Reason | None:
    if facts.acknowledged and (facts.urgent or rung.acknowledgement_ends):
        return Reason.ACKNOWLEDGED
    if not facts.topic_on:
        return Reason.TOPIC_OFF
    reach = _reach(facts, rung.channel)
    if not reach.on:
        return Reason.CHANNEL_OFF
    if rung.stands_in_for is not None:
        first = _of(facts, rung.stands_in_for)
        if any(delivery.status in ARRIVED for delivery in first):
            return Reason.TOLD_BEFORE
    return reach.missing


@dataclass(frozen=True, slots=True)
class _Reach:
    """`on`: the person's switch. `missing`: what keeps anything from reaching them there."""

    on: bool
    missing: Reason | None


def _reach(facts: Facts, channel: Channel) -> _Reach:
    match channel:
        case "push":
            return _Reach(facts.push_on, None if facts.has_device else Reason.NO_DEVICE)
        case "kakao":
            return _Reach(facts.kakao_on, None if facts.has_kakao else Reason.NO_DEVICE)
        case "email":
            suppressed = Reason.ADDRESS_SUPPRESSED if facts.address_suppressed else None
            missing = suppressed if facts.has_address else Reason.NO_DEVICE
            never = facts.timers.email == 0 and facts.only != "email"
            return _Reach(facts.email_on and not never, missing)


def _of(facts: Facts, channel: Channel) -> list[Delivery]:
    return [delivery for delivery in facts.deliveries if delivery.channel == channel]


def _leased_until(deliveries: Sequence[Delivery], now: datetime) -> datetime | None:
    """When the last claim of a sender lapses; None when nobody is sending."""
    leases = [d.lease_until for d in deliveries if d.status == "sending" and d.lease_until]
    alive = [lease for lease in leases if lease > now]
    return max(alive, default=None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person in the cells of a wave's circle."""

    user_id: str
    distance_m: float
    is_local_verified: bool
    last_active_at: datetime
    radius_m: int
    urgent_enabled: bool
    muted: bool


@dataclass(frozen=True, slots=True)
class Audience:
    chosen: list[Candidate]
    withheld: list[tuple[Candidate, Reason]]


def rank(candidates: Sequence[Candidate], wave_radius_m: int, most: int) -> Audience:
    """Verified locals first, then the nearest, then the most recently active (C26).

    People suppressed do not use up a wave's places.
    """
    chosen: list[Candidate] = []
    withheld: list[tuple[Candidate, Reason]] = []
    for one in sorted(
        candidates,
        key=lambda c: (not c.is_local_verified, c.distance_m, -c.last_active_at.timestamp()),
    ):
        reason = _not_woken(one, wave_radius_m)
        if reason is None and len(chosen) >= most:
            reason = Reason.CAP_WAVE
        if reason is None:
            chosen.append(one)
        else:
            withheld.append((one, reason))
    return Audience(chosen, withheld)


def _not_woken(one: Candidate, wave_radius_m: int) -> Reason | None:
    if not one.urgent_enabled:
        return Reason.TOPIC_OFF
    if one.muted:
        return Reason.MUTED
    if one.distance_m > min(wave_radius_m, one.radius_m):
        return Reason.OUTSIDE_RADIUS
    return None
