"""Who is told when, over which channel, and why. Pure: facts and the time come in, a decision with
its reason goes out. The states of an urgent question and the reasons are closed tables; pages that
explain them are printed from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from hub.domain.rules.reasons import Reason

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
