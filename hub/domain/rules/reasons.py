"""Why a person was told, or was not: closed lists, from which every decision takes its words."""

from enum import StrEnum


class Verdict(StrEnum):
    """What was decided about one person, on one channel or about a whole wave."""

    TOLD = "told"
    WAITING = "waiting"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    FAILED = "failed"


class Reason(StrEnum):
    """Why something was withheld."""

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


class Cause(StrEnum):
    """Why something is sent, waits, or failed without a reason of the person's."""

    RANKED = "ranked"
    NO_LIVE_SOCKET = "no_live_socket"
    UNSEEN = "unseen"
    UNACKNOWLEDGED = "unacknowledged"
    SOCKET_TOLD = "socket_told"
    BEING_SENT = "being_sent"
    NOT_DUE = "not_due"
    QUIET_NOW = "quiet_now"
    SETTLED = "settled"
    PROVIDER_REFUSED = "provider_refused"
    GIVEN_UP = "given_up"


def verdict_of(reason: Reason) -> Verdict:
    """What is late has expired; everything else that was withheld is suppressed."""
    return Verdict.EXPIRED if reason is Reason.EXPIRED else Verdict.SUPPRESSED
