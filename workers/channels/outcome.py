"""What came of a message: the same words for every provider."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

TIMEOUT: Final = "timeout"
UNREACHABLE: Final = "unreachable"
DISCONNECTED: Final = "disconnected"
CREDENTIALS_REFUSED: Final = "credentials_refused"
BAD_ADDRESS: Final = "bad_address"
NOT_ASKED: Final = frozenset({CREDENTIALS_REFUSED, BAD_ADDRESS})
"""Codes of ours for what was never brought before the provider: they tell nothing of it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took it over and answers for it from here."""

    provider_message_id: str


class About(StrEnum):
    """Whom a provider's answer is about (design §6). Only the first may cost a device or an
    address, only the second wakes an operator, only the last counts for a breaker."""

    RECIPIENT = "recipient"
    """This message, or the one device or mailbox it was for."""
    US = "us"
    """Our key, our project, our server's name, our settings: nobody else's trouble."""
    PROVIDER = "provider"
    """Its servers, or the way to them."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """Not taken, perhaps later: what was asked for is right, or the fault is ours to mend."""

    code: str
    retry_after_s: float | None = None
    about: About = About.PROVIDER


@dataclass(frozen=True, slots=True)
class Permanent:
    """Never taken in this form. `token_dead`: nothing will ever reach this token or address."""

    code: str
    token_dead: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """Not sent: the device signed out or moved to somebody else meanwhile. Nothing died."""

    code: str = "device_gone"


@dataclass(frozen=True, slots=True)
class Expired:
    """Not sent: the deadline had come. Late is worse than never."""

    code: str = "expired"


@dataclass(frozen=True, slots=True)
class NotConfigured:
    """Not sent: this channel has no credentials. The caller records `suppressed`."""

    code: str = "not_configured"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Not sent: the provider's breaker is open, and `seconds` later it may be asked again."""

    seconds: float
    code: str = "breaker_open"


Outcome = Sent | Temporary | Permanent | Gone | Expired | NotConfigured | Blocked


class Act(StrEnum):
    """What an answer asks of us; each provider's table names one for each answer."""

    PRUNE = "prune"
    """The device or mailbox exists no more: never again."""
    DROP = "drop"
    """Never this message; another one may pass."""
    PAUSE = "pause"
    """Later, for this recipient; nobody else waits."""
    RETRY = "retry"
    """Later: the provider is in trouble, and its breaker counts it."""
    ALARM = "alarm"
    """Later, once an operator has mended what is ours."""

    def outcome(self, code: str, wait_s: float | None = None) -> Outcome:
        match self:
            case Act.PRUNE | Act.DROP:
                return Permanent(code, token_dead=self is Act.PRUNE)
            case Act.PAUSE:
                return Temporary(code, wait_s, About.RECIPIENT)
            case Act.ALARM:
                return Temporary(code, wait_s, About.US)
            case Act.RETRY:
                return Temporary(code, wait_s)


def seconds_left(deadline_at: datetime | None, now: datetime) -> int | None:
    """Whole seconds until the deadline, None without one. Under 1 means: do not send."""
    return None if deadline_at is None else int((deadline_at - now).total_seconds() // 1)
