"""How a message leaves the house: one module a provider, one table of its answers each."""

from workers.senders.outcome import (
    About,
    Expired,
    Gone,
    MailMessage,
    NotConfigured,
    Outcome,
    Permanent,
    PushMessage,
    Sent,
    Temporary,
)

__all__ = [
    "About",
    "Expired",
    "Gone",
    "MailMessage",
    "NotConfigured",
    "Outcome",
    "Permanent",
    "PushMessage",
    "Sent",
    "Temporary",
]
