"""Why something was withheld."""

from enum import StrEnum


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
