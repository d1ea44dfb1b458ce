"""How a message leaves the house: one module a provider, one table of its answers each."""

from workers.senders.outcome import (
    Expired,
    MailMessage,
    NotConfigured,
    Outcome,
    Permanent,
    PushMessage,
    Sent,
    Temporary,
)

__all__ = [
    "Expired",
    "MailMessage",
    "NotConfigured",
    "Outcome",
    "Permanent",
    "PushMessage",
    "Sent",
    "Temporary",
]
