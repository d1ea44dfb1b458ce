"""Whom a wave wakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.domain.rules.reasons import Reason


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
