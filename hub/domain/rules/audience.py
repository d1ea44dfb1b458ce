"""Whom a wave wakes, and when waves begin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from hub.domain.rules.reasons import Reason

WIDEST_M: Final = 20_000
"""Nobody asks to be woken for what is farther away (notification_preferences.radius_m)."""


class PlannedWave(NamedTuple):
    """One widening: seconds after the question was asked, and metres; None is the region."""

    after_s: int
    radius_m: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person in the cells of a wave's circle. `told_before`: by name, by an earlier wave.
    `blocked`: nothing passes between them and the asker. `reachable`: on some channel that they
    have not switched off. `quiet`: it is quiet where they are. `capped`: woken often enough.
    """

    user_id: str
    distance_m: float
    is_local_verified: bool
    last_active_at: datetime
    radius_m: int
    urgent_enabled: bool
    muted: bool
    told_before: bool = False
    blocked: bool = False
    reachable: bool = True
    quiet: bool = False
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a wave wakes, and whom it does not, with the reason; both in order of rank."""

    chosen: list[Candidate] = field(default_factory=list)
    withheld: list[tuple[Candidate, Reason]] = field(default_factory=list)


def rank(
    candidates: Sequence[Candidate],
    wave_radius_m: int,
    most: int,
    audience: Audience | None = None,
) -> Audience:
    """Verified locals first, then the nearest, then the most recently active (C26); `audience` has
    those who rank before all of these.

    People suppressed do not use up a wave's places.
    """
    audience = audience or Audience()
    for one in sorted(
        candidates,
        key=lambda c: (not c.is_local_verified, c.distance_m, -c.last_active_at.timestamp()),
    ):
        reason = _not_woken(one, wave_radius_m)
        if reason is None and len(audience.chosen) >= most:
            reason = Reason.CAP_WAVE
        if reason is None:
            audience.chosen.append(one)
        else:
            audience.withheld.append((one, reason))
    return audience


def _not_woken(one: Candidate, wave_radius_m: int) -> Reason | None:
    if one.told_before:
        return Reason.TOLD_BEFORE
    if one.blocked:
        return Reason.BLOCKED
    if not one.urgent_enabled:
        return Reason.TOPIC_OFF
    if one.muted:
        return Reason.MUTED
    if one.distance_m > min(wave_radius_m, one.radius_m):
        return Reason.OUTSIDE_RADIUS
    if not one.reachable:
        return Reason.CHANNEL_OFF
    if one.quiet:
        return Reason.QUIET_HOURS
    return Reason.CAP_PERSON if one.capped else None
