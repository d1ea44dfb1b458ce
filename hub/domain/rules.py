"""Who is told when, over which channel, and why. Pure: facts and the time come in, a decision with
its reason goes out. The states of an urgent question and the reasons are closed tables; pages that
explain them are printed from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal


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

Channel = Literal["push", "email"]
EMAIL_NEEDS_LEFT: Final = timedelta(seconds=60)
"""An urgent question is mailed only while this much of its time remains."""

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
    topic_on: bool = True
    push_on: bool = True
    email_on: bool = True
    has_device: bool = False
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
    """What to do next: first the push is settled, then the email."""
    push = _of(facts, "push")
    if not all(delivery.status in FINAL for delivery in push) or not push:
        return _push_step(facts, push, now)
    email = _of(facts, "email")
    if not all(delivery.status in FINAL for delivery in email) or not email:
        return _email_step(facts, email, now)
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


def _push_step(facts: Facts, push: Sequence[Delivery], now: datetime) -> Step:
    reason = ended(facts, now) or _push_withheld(facts)
    if reason:
        return Suppress("push", reason)
    leased = _leased_until(push, now)
    if leased:
        return Wait(leased, "a push is being sent")
    due = facts.created_at
    if facts.had_socket:
        due += timedelta(seconds=facts.timers.push)
    if now < due:
        return Wait(due, f"a socket was told; push after {facts.timers.push} s")
    return Send("push", f"unseen {facts.timers.push} s" if facts.had_socket else "no live socket")


def _push_withheld(facts: Facts) -> Reason | None:
    if facts.acknowledged:
        return Reason.ACKNOWLEDGED
    if not facts.topic_on:
        return Reason.TOPIC_OFF
    if not facts.push_on:
        return Reason.CHANNEL_OFF
    return None if facts.has_device else Reason.NO_DEVICE


def _email_step(facts: Facts, email: Sequence[Delivery], now: datetime) -> Step:
    reason = ended(facts, now) or _email_withheld(facts)
    if reason:
        return Suppress("email", reason)
    leased = _leased_until(email, now)
    if leased:
        return Wait(leased, "a mail is being sent")
    due = facts.created_at + timedelta(seconds=facts.timers.email)
    last = facts.deadline_at - EMAIL_NEEDS_LEFT if facts.urgent and facts.deadline_at else None
    if last is not None and max(now, due) > last:
        return Suppress("email", Reason.EXPIRED)
    if now < due:
        return Wait(due, f"email after {facts.timers.email} s")
    word = "unacknowledged" if facts.urgent else "unseen"
    return Send("email", f"{word} {facts.timers.email} s")


def _email_withheld(facts: Facts) -> Reason | None:
    if facts.urgent and facts.acknowledged:
        return Reason.ACKNOWLEDGED
    if not facts.topic_on:
        return Reason.TOPIC_OFF
    if not facts.email_on or facts.timers.email == 0:
        return Reason.CHANNEL_OFF
    if not facts.has_address:
        return Reason.NO_DEVICE
    return Reason.ADDRESS_SUPPRESSED if facts.address_suppressed else None


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
