"""The table of push services' answers: statuses alone, for their bodies are everyone's own.

Sources: RFC 8030 §5, §7.3, §8.4; RFC 8292 §4; RFC 6585; and what the browsers' services say more:
autopush's "Error Codes", "Push notification service request and response headers" (WNS), "Sending
web push notifications in web apps and browsers" (Apple).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from workers.channels.http import retry_after
from workers.channels.outcome import Act, Outcome

TAKEN: Final = frozenset({200, 201, 202})
"""201 Created is RFC 8030's; 202 Accepted where a receipt was asked for, or out of habit."""

STATUSES: Final[dict[int, Act]] = {
    400: Act.DROP,
    401: Act.ALARM,  # our VAPID token, or that it is missing
    403: Act.ALARM,  # our VAPID key is not the one that was subscribed with
    404: Act.PRUNE,  # the subscription has expired
    405: Act.ALARM,
    406: Act.PAUSE,  # WNS: too many for this one
    408: Act.RETRY,
    410: Act.PRUNE,
    412: Act.DROP,
    413: Act.DROP,
    425: Act.RETRY,
    429: Act.PAUSE,  # "for push message delivery to a push resource"
    500: Act.RETRY,
    501: Act.ALARM,
    502: Act.RETRY,
    503: Act.RETRY,
    504: Act.RETRY,
    507: Act.RETRY,
}


def classify(status: int, headers: Mapping[str, str], now: datetime) -> Outcome:
    """The outcome of a message that was not taken. Of what is not in the table 4xx is about the
    message, 5xx the push service's; a redirect is not followed, and leads nowhere."""
    act = STATUSES.get(status, Act.RETRY if status >= 500 else Act.DROP)
    wait = None if act in (Act.PRUNE, Act.DROP) else retry_after(headers.get("Retry-After"), now)
    return act.outcome(f"http_{status}", wait)
