"""States: of a question, of the alert of an urgent one, and of one delivery.

`URGENT_STATES` is the whole automaton of an urgent question; `hub.domain.questions.urgent.move` is
its one reader that writes, and pages that explain it are printed from it.
"""

from enum import StrEnum
from typing import Final


class QuestionStatus(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"
    DELETED = "deleted"


class UrgentState(StrEnum):
    """Of an urgent question; an ordinary one has none.

    OPEN: written, no wave has begun. WAVE: one has, and the next one has its time. CLAIMED: every
    place of an answerer is taken. EXPIRED: the deadline passed without an answer.
    """

    OPEN = "open"
    WAVE = "wave"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    CLOSED = "closed"
    EXPIRED = "expired"


URGENT_STATES: Final[dict[UrgentState, frozenset[UrgentState]]] = {
    UrgentState.OPEN: frozenset(
        {UrgentState.WAVE, UrgentState.ANSWERED, UrgentState.CLOSED, UrgentState.EXPIRED}
    ),
    UrgentState.WAVE: frozenset(
        {
            UrgentState.WAVE,  # the next one, wider
            UrgentState.CLAIMED,
            UrgentState.ANSWERED,
            UrgentState.CLOSED,
            UrgentState.EXPIRED,
        }
    ),
    UrgentState.CLAIMED: frozenset(
        {
            UrgentState.WAVE,  # a claim lapsed or was released
            UrgentState.ANSWERED,
            UrgentState.CLOSED,
            UrgentState.EXPIRED,
        }
    ),
    UrgentState.ANSWERED: frozenset(
        {
            UrgentState.WAVE,  # the only answer was deleted before the deadline
            UrgentState.CLOSED,
        }
    ),
    UrgentState.CLOSED: frozenset(),
    UrgentState.EXPIRED: frozenset({UrgentState.ANSWERED, UrgentState.CLOSED}),
}
"""From a state of an urgent question to those that may follow."""

AWAITING: Final = frozenset({UrgentState.OPEN, UrgentState.WAVE, UrgentState.CLAIMED})
"""An answer is awaited: what was told is to be taken back once one is there."""


class IllegalMove(Exception):
    """A state that may not follow: a fault of ours, which undoes the change that tried it."""


def follow(now: UrgentState, then: UrgentState) -> UrgentState:
    """The state after `now`. Raises IllegalMove for one that the table does not let follow."""
    if then not in URGENT_STATES[now]:
        raise IllegalMove(f"{now} -> {then}")
    return then


class DeliveryStatus(StrEnum):
    """Of one row of deliveries: one notification, on one channel, to one device or address."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    SEEN = "seen"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"


ARRIVED: Final = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.SEEN})
"""A provider took it over, whatever came after."""

FINAL: Final = frozenset(DeliveryStatus) - {DeliveryStatus.QUEUED, DeliveryStatus.SENDING}
"""After these nothing more is tried."""
