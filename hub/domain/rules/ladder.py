"""Who is told when, over which channel, and why: facts and the time come in, a decision with its
reason goes out. The channels of a kind are the rungs; each is settled before the next is looked at.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from hub.domain.rules.kinds import CHANNELS, Channel, ChannelRow, Kind, Pace, Timers
from hub.domain.rules.quiet import QuietHours
from hub.domain.rules.reasons import Cause, Reason
from hub.domain.rules.states import ARRIVED, FINAL, DeliveryStatus, QuestionStatus


class Delivery(Struct, frozen=True):
    channel: Channel
    status: DeliveryStatus
    lease_until: datetime | None = None


class Reach(Struct, frozen=True):
    """Whether a channel gets to the person. `there`: they have a device, an address."""

    on: bool = True
    there: bool = False
    suppressed: bool = False


class Facts(Struct, frozen=True):
    """All that decides the next step for one notification of one person.

    `gone`: deleted, retracted, or its person erased. `blocked`: it comes from somebody to whom, or
    from whom, nothing passes. `muted`, `outside_radius`: its question's place is none that the
    person wants to be woken for. `quiet`: None where quiet hours do not hold for it. `capped`: the
    person was woken as often as a day has; `pause_until`: their phone rang a short while ago.
    """

    kind: Kind
    created_at: datetime
    timers: Timers
    acknowledged: bool = False
    seen: bool = False
    gone: bool = False
    question_status: QuestionStatus | None = None
    question_answered: bool = False
    deadline_at: datetime | None = None
    had_socket: bool = False
    topic_on: bool = True
    blocked: bool = False
    muted: bool = False
    outside_radius: bool = False
    quiet: QuietHours | None = None
    capped: bool = False
    pause_until: datetime | None = None
    reach: Mapping[Channel, Reach] = field(default_factory=dict)
    deliveries: Sequence[Delivery] = ()


class Done(Struct, frozen=True):
    cause: Cause


class Wait(Struct, frozen=True):
    until: datetime
    cause: Cause


class Send(Struct, frozen=True):
    """`after_s`: since the notification was made, where it was waited for."""

    channel: Channel
    cause: Cause
    after_s: int | None = None


class Suppress(Struct, frozen=True):
    channel: Channel
    reason: Reason


Step = Done | Wait | Send | Suppress


def next_step(facts: Facts, now: datetime) -> Step:
    """What to do next: the first channel of the kind that is not settled decides."""
    for channel in facts.kind.channels:
        tried = _on(facts, channel)
        if CHANNELS[channel].optional and not tried and not _reach(facts, channel).on:
            continue
        if not tried or any(delivery.status not in FINAL for delivery in tried):
            return _step_on(CHANNELS[channel], facts, tried, now)
    return Done(Cause.SETTLED)


def ended(facts: Facts, now: datetime) -> Reason | None:
    """What ends everything that is pending, on every channel."""
    if facts.kind.urgent and facts.question_answered:
        return Reason.ANSWERED
    if facts.kind.urgent and facts.question_status not in (None, QuestionStatus.ACTIVE):
        return Reason.CLOSED
    if facts.gone:
        return Reason.ERASED
    if facts.deadline_at is not None and now >= facts.deadline_at:
        return Reason.EXPIRED
    if facts.seen:
        return Reason.SEEN
    return None


def due_at(row: ChannelRow, facts: Facts) -> datetime:
    """When a channel's time has come."""
    if row.only_a_live_socket_delays and not facts.had_socket:
        return facts.created_at
    return facts.created_at + timedelta(seconds=facts.timers[row.channel])


def _step_on(row: ChannelRow, facts: Facts, tried: Sequence[Delivery], now: datetime) -> Step:
    channel, timer_s = row.channel, facts.timers[row.channel]
    reason = ended(facts, now) or _withheld(row, facts)
    if reason:
        return Suppress(channel, reason)
    leased = _leased_until(tried, now)
    if leased:
        return Wait(leased, Cause.BEING_SENT)
    due = due_at(row, facts)
    if _comes_too_late(row, facts, max(now, due)):
        return Suppress(channel, Reason.EXPIRED)
    if now < due:
        told = row.only_a_live_socket_delays
        return Wait(due, Cause.SOCKET_TOLD if told else Cause.NOT_DUE)
    held = _held_now(row, facts, now)
    if held is not None:
        return held
    if due == facts.created_at and row.only_a_live_socket_delays and not facts.had_socket:
        return Send(channel, Cause.NO_LIVE_SOCKET)
    unacknowledged = facts.kind.urgent and not row.ended_by_acknowledgement
    return Send(channel, Cause.UNACKNOWLEDGED if unacknowledged else Cause.UNSEEN, timer_s)


def _withheld(row: ChannelRow, facts: Facts) -> Reason | None:
    """What keeps this one channel from being used."""
    reach = _reach(facts, row.channel)
    if facts.blocked:
        return Reason.BLOCKED
    if facts.acknowledged and (row.ended_by_acknowledgement or facts.kind.urgent):
        return Reason.ACKNOWLEDGED
    if not facts.topic_on:
        return Reason.TOPIC_OFF
    if facts.muted:
        return Reason.MUTED
    if facts.outside_radius:
        return Reason.OUTSIDE_RADIUS
    waits = not row.only_a_live_socket_delays and facts.kind.pace is not Pace.AT_ONCE
    never = facts.timers[row.channel] == 0 and waits
    if not reach.on or never:
        return Reason.CHANNEL_OFF
    if row.stands_in_for is not None:
        first = _on(facts, row.stands_in_for)
        if any(delivery.status in ARRIVED for delivery in first):
            return Reason.TOLD_BEFORE
    if not reach.there:
        return Reason.NO_DEVICE
    return Reason.ADDRESS_SUPPRESSED if reach.suppressed else None


def _held_now(row: ChannelRow, facts: Facts, now: datetime) -> Wait | Suppress | None:
    """What speaks against this very moment, looked at when the channel's time has come."""
    pausing = row.rings and facts.pause_until is not None and now < facts.pause_until
    if facts.capped or pausing:
        return Suppress(row.channel, Reason.CAP_PERSON)
    quiet_until = facts.quiet.until(now) if facts.quiet else None
    if quiet_until is None:
        return None
    over = facts.deadline_at is not None and facts.deadline_at <= quiet_until
    if row.rings or over or _comes_too_late(row, facts, quiet_until):
        return Suppress(row.channel, Reason.QUIET_HOURS)
    return Wait(quiet_until, Cause.QUIET_NOW)


def _reach(facts: Facts, channel: Channel) -> Reach:
    return facts.reach.get(channel, Reach(on=not CHANNELS[channel].optional))


def _on(facts: Facts, channel: Channel) -> list[Delivery]:
    return [delivery for delivery in facts.deliveries if delivery.channel is channel]


def _comes_too_late(row: ChannelRow, facts: Facts, at: datetime) -> bool:
    """Whether too little of an urgent question's time is left for this channel."""
    if not (facts.kind.urgent and facts.deadline_at and row.least_left):
        return False
    return at > facts.deadline_at - row.least_left


def _leased_until(deliveries: Sequence[Delivery], now: datetime) -> datetime | None:
    """When the last claim of a sender lapses; None when nobody is sending."""
    leases = [one.lease_until for one in deliveries if one.status is DeliveryStatus.SENDING]
    return max((lease for lease in leases if lease and lease > now), default=None)
