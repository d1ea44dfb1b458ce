"""What is handed to a provider, the same for every channel; each folder puts it in its own form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from workers.channels.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a message is for. `address` is a secret, and is in no repr: a device's token, a
    browser's subscription (JSON), a mail address, a person's key at a messenger.

    `platform` and `environment` are those of the device, and empty where there is none;
    `registered_at`: when its token was registered, the last time.
    """

    address: str = field(repr=False)
    platform: str = ""
    environment: str = ""
    registered_at: datetime | None = None


class Message(Struct, frozen=True):
    """One notification for one recipient. Texts are in the language of `locale`, which is the
    recipient's; no field may hold a coordinate.

    `delivery_id` is the same for every try. `collapse_id` is the question's or the notification's
    id: a repeat replaces, never adds. `deadline_at`: late is worse than never, and it is looked at
    when the message is sent. `timezone`: where the recipient's clock is. `silent` is a retraction:
    the app is woken and the person is shown nothing. `unsubscribe_url`: of a mail.
    """

    notification_id: str
    delivery_id: str
    kind: str
    locale: str
    title: str
    body: str
    unread: int
    url: str
    collapse_id: str
    created_at: datetime
    question_id: str | None = None
    answer_id: str | None = None
    deadline_at: datetime | None = None
    urgent: bool = False
    timezone: str | None = None
    silent: bool = False
    unsubscribe_url: str | None = None
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Sender(Protocol):
    """One provider as a worker reaches it."""

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """Hand one message over, once; the queue repeats. It ends within the provider's time-out,
        raises nothing for what the provider or the network does, and no outcome holds an address
        or a provider's own text."""

    async def close(self) -> None:
        """Let go of connections and of what is fetched in the background."""
