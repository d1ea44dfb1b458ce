"""The table of APNs' answers. Source: Apple, "Handling notification responses from APNs"."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from workers.channels.http import retry_after
from workers.channels.outcome import Act, Outcome

EXPIRED_TOKEN: Final = "ExpiredProviderToken"  # noqa: S105
_NO_MORE: Final = "Unregistered"

REASONS: Final[dict[str, Act]] = {
    # 400
    "BadCollapseId": Act.DROP,
    "BadDeviceToken": Act.PRUNE,  # of no device, or of one of the other environment
    "BadExpirationDate": Act.DROP,
    "BadMessageId": Act.DROP,
    "BadPriority": Act.DROP,
    "BadTopic": Act.ALARM,
    "DeviceTokenNotForTopic": Act.ALARM,  # APNS_TOPIC is another app's; the device is well
    "DuplicateHeaders": Act.DROP,
    "IdleTimeout": Act.RETRY,
    "InvalidPushType": Act.DROP,
    "MissingDeviceToken": Act.DROP,
    "MissingTopic": Act.ALARM,
    "PayloadEmpty": Act.DROP,
    "TopicDisallowed": Act.ALARM,
    # 403
    "BadCertificate": Act.ALARM,
    "BadCertificateEnvironment": Act.ALARM,
    EXPIRED_TOKEN: Act.ALARM,  # a newer one is tried first: see the sender
    "Forbidden": Act.ALARM,
    "InvalidProviderToken": Act.ALARM,
    "MissingProviderToken": Act.ALARM,
    "UnrelatedKeyIdInToken": Act.ALARM,
    "BadEnvironmentKeyIdInToken": Act.ALARM,  # a key of one environment, at the other
    # 404, 405
    "BadPath": Act.DROP,
    "MethodNotAllowed": Act.ALARM,
    # 410
    "ExpiredToken": Act.PRUNE,
    _NO_MORE: Act.PRUNE,  # unless it was registered again since: see `classify`
    # 413, 429
    "PayloadTooLarge": Act.DROP,
    "TooManyProviderTokenUpdates": Act.ALARM,  # somebody else signs with our key, too
    "TooManyRequests": Act.PAUSE,  # "to the same device token"
    # 500, 503
    "InternalServerError": Act.RETRY,
    "ServiceUnavailable": Act.RETRY,
    "Shutdown": Act.RETRY,
}
"""All that are documented for a notification, in the order of their statuses."""

_BY_HTTP: Final[dict[int, Act]] = {
    **dict.fromkeys((401, 403, 404, 405, 407), Act.ALARM),
    **dict.fromkeys((408, 421, 425), Act.RETRY),
    429: Act.PAUSE,
}
"""Where no reason is known: of 4xx the rest is about this message, anything else is theirs."""


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    registered_at: datetime | None,
    now: datetime,
) -> Outcome:
    """The outcome of a push that was answered with anything but 200.

    `Unregistered` tells since when the token is dead; a device that registered the same token after
    that (`registered_at`) has the app again, and only APNs does not know it yet. A reason we do not
    know is named by its status: no text of a provider becomes a label or a stored value.
    """
    answer = _object(body)
    reason = answer.get("reason")
    wait = retry_after(headers.get("retry-after"), now)
    if not isinstance(reason, str) or reason not in REASONS:
        other = Act.DROP if 400 <= status < 500 else Act.RETRY
        act = _BY_HTTP.get(status, other)
        return act.outcome(f"http_{status}", wait)
    act = REASONS[reason]
    if reason == _NO_MORE and _registered_since(answer.get("timestamp"), registered_at):
        act = Act.PAUSE
    return act.outcome(reason, None if act in (Act.PRUNE, Act.DROP) else wait)


def reason_of(body: bytes) -> str | None:
    """The reason as it stands there, for comparing only."""
    reason = _object(body).get("reason")
    return reason if isinstance(reason, str) else None


def _registered_since(timestamp: Any, registered_at: datetime | None) -> bool:
    """`timestamp` is in milliseconds since 1970."""
    if registered_at is None or not isinstance(timestamp, int | float):
        return False
    try:
        dead_since = datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return False
    return registered_at > dead_since


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
