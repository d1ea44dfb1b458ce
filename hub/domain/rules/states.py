"""States: of a question, of the alert of an urgent one, and of one delivery.

`URGENT_STATES` is the whole automaton of an urgent question; `hub.domain.questions.urgent.move` is
its one reader that writes, and deploy/docs/urgent-states.md is printed from it
(`hub.domain.rules.picture`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class QuestionStatus(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"
    DELETED = "deleted"


class UrgentState(StrEnum):
    """Of an urgent question; an ordinary one has none. MEANINGS says what each of them is."""

    OPEN = "open"
    WAVE = "wave"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    CLOSED = "closed"
    EXPIRED = "expired"


_ANSWERED, _CLOSED, _EXPIRED = "it is answered", "it is closed or deleted", "its deadline passes"

URGENT_STATES: Final[Mapping[UrgentState, Mapping[UrgentState, str]]] = {
    UrgentState.OPEN: {
        UrgentState.WAVE: "the widest wave that is due begins",
        UrgentState.ANSWERED: _ANSWERED,
        UrgentState.CLOSED: _CLOSED,
        UrgentState.EXPIRED: _EXPIRED,
    },
    UrgentState.WAVE: {
        UrgentState.WAVE: "the next wave begins, wider",
        UrgentState.CLAIMED: "every place of an answerer is taken",
        UrgentState.ANSWERED: _ANSWERED,
        UrgentState.CLOSED: _CLOSED,
        UrgentState.EXPIRED: _EXPIRED,
    },
    UrgentState.CLAIMED: {
        UrgentState.WAVE: "a claim lapses or is released, and a wave that is due begins at once",
        UrgentState.ANSWERED: _ANSWERED,
        UrgentState.CLOSED: _CLOSED,
        UrgentState.EXPIRED: _EXPIRED,
    },
    UrgentState.ANSWERED: {
        UrgentState.WAVE: "its only answer is deleted before the deadline",
        UrgentState.CLOSED: _CLOSED,
    },
    UrgentState.CLOSED: {},
    UrgentState.EXPIRED: {
        UrgentState.ANSWERED: "an answer comes after the deadline, and wakes nobody",
        UrgentState.CLOSED: _CLOSED,
    },
}
"""From a state of an urgent question to those that may follow, each with what makes it follow."""

MEANINGS: Final[Mapping[UrgentState, str]] = {
    UrgentState.OPEN: "It is written, and no wave has begun.",
    UrgentState.WAVE: "A wave has begun, and the next one has its time.",
    UrgentState.CLAIMED: "Every place of an answerer is taken: no wave begins.",
    UrgentState.ANSWERED: "Somebody has answered in time: all that was told is taken back.",
    UrgentState.CLOSED: "It was closed or deleted.",
    UrgentState.EXPIRED: "The deadline passed without an answer: it is an ordinary question now.",
}

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
