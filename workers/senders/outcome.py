"""What is handed to a provider and what came of it: the same words for push and for mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

TIMEOUT: Final = "timeout"
UNREACHABLE: Final = "unreachable"
DISCONNECTED: Final = "disconnected"
CREDENTIALS_REFUSED: Final = "credentials_refused"


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


@dataclass(frozen=True, slots=True)
class Temporary:
    """Not taken, perhaps later: what was asked for is right, or the fault is ours to mend."""

    code: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """Never taken in this form. `token_dead`: nothing will ever reach this token or address."""

    code: str
    token_dead: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """Not sent: the deadline had come. Late is worse than never."""

    code: str = "expired"


@dataclass(frozen=True, slots=True)
class NotConfigured:
    """Not sent: this channel has no credentials. The caller records `suppressed`."""

    code: str = "not_configured"


Outcome = Sent | Temporary | Permanent | Expired | NotConfigured


def seconds_left(deadline_at: datetime | None, now: datetime) -> int | None:
    """Whole seconds until the deadline, None without one. Under 1 means: do not send."""
    return None if deadline_at is None else int((deadline_at - now).total_seconds() // 1)
