"""What is handed to a provider and what came of it: the same words for push and for mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class PushMessage:
    """One push to one device. Text is in the device's language; no field may hold a coordinate.

    `collapse_id` is the question's or the notification's id: a repeat replaces, never adds.
    `silent` is a retraction: the app is woken, the person is shown nothing.
    """

    notification_id: str
    kind: str
    title: str
    body: str
    unread: int
    url: str
    collapse_id: str
    created_at: datetime
    question_id: str | None = None
    answer_id: str | None = None
    deadline_at: datetime | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class MailMessage:
    """One mail to one person.

    `message_id` is the delivery's id, the same for every try: the sender makes `<id@domain>` of it.
    `headers` are further ones, such as List-Unsubscribe; those the sender writes itself win.
    `personal` mails may use the last tokens of the mail bucket.
    """

    notification_id: str
    to: str
    locale: str
    subject: str
    text: str
    html: str
    message_id: str
    to_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    deadline_at: datetime | None = None
    personal: bool = True


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


Outcome = Sent | Temporary | Permanent | Gone | Expired | NotConfigured


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
