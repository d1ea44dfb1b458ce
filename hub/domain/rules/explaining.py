"""What stands over all decisions about one person: told or not, and the one reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.domain.rules.audience import WIDEST_M
from hub.domain.rules.kinds import Channel, Kind
from hub.domain.rules.ladder import Delivery
from hub.domain.rules.reasons import Cause, Reason, Verdict, verdict_of
from hub.domain.rules.states import ARRIVED, FINAL

Word = tuple[Verdict, Reason | Cause]


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision, as it was kept; no channel: about a candidate of a wave."""

    channel: Channel | None
    verdict: Verdict
    reason: Reason | Cause


@dataclass(frozen=True, slots=True)
class Begun:
    """A wave that has begun; no radius: the region."""

    radius_m: int | None
    started_at: datetime

    def covers(self, distance_m: float, in_region: bool) -> bool:
        if self.radius_m is None:
            return in_region and distance_m <= WIDEST_M
        return distance_m <= self.radius_m


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What is known of where somebody is. `distance_m` to the question: None where the position
    names a region only."""

    distance_m: float | None
    in_region: bool
    updated_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Missing:
    """Of somebody about whom no decision was kept. `over`: why the question wakes nobody any more.
    `ranked`: somebody was told by name, so the ranking has run."""

    is_asker: bool
    erased: bool
    waves: Sequence[Begun]
    whereabouts: Whereabouts | None
    over: Reason | None
    ranked: bool


def of_nobody_listed(person: Missing) -> Word:
    """From the waves' rows alone: a row is kept only of those near enough to be candidates."""
    reason = _why_not_listed(person)
    return (Verdict.WAITING, Cause.NOT_DUE) if reason is None else (verdict_of(reason), reason)


def _why_not_listed(person: Missing) -> Reason | None:
    if person.is_asker:
        return Reason.ASKER
    if person.erased:
        return Reason.ERASED
    if not person.waves:
        return person.over
    last, there = max(wave.started_at for wave in person.waves), person.whereabouts
    if there is None or there.distance_m is None:
        return Reason.NO_POSITION
    if there.expires_at <= last:
        return Reason.POSITION_EXPIRED
    covered = any(wave.covers(there.distance_m, there.in_region) for wave in person.waves)
    if there.updated_at > last or not covered:  # who came later was elsewhere then
        return Reason.OUTSIDE_RADIUS
    return Reason.CAP_WAVE if person.ranked else person.over


def of_one_notified(kind: Kind, decided: Sequence[Decided], deliveries: Sequence[Delivery]) -> Word:
    """Somebody with a notification: what a provider took over counts; otherwise the first channel
    of the kind about which something was decided, with its last word."""
    for channel in kind.channels:
        words = [one for one in decided if one.channel is channel]
        if any(one.channel is channel and one.status in ARRIVED for one in deliveries):
            causes = [one.reason for one in words if one.verdict is Verdict.TOLD]
            return Verdict.TOLD, causes[-1] if causes else Cause.UNSEEN
    for channel in kind.channels:
        words = [one for one in decided if one.channel is channel]
        if not words:
            continue
        tried = [one for one in deliveries if one.channel is channel]
        if words[-1].verdict is Verdict.TOLD and any(one.status not in FINAL for one in tried):
            return Verdict.WAITING, Cause.BEING_SENT
        return words[-1].verdict, words[-1].reason
    had_socket = any(one.channel is Channel.SOCKET for one in deliveries)
    return Verdict.WAITING, Cause.SOCKET_TOLD if had_socket else Cause.NOT_DUE
