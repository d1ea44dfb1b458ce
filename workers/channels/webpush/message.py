"""A push as a push service wants it (RFC 8030 §5), and as the app's service worker reads it."""

from datetime import datetime
from typing import Final

import orjson

from workers.channels.message import Message
from workers.channels.outcome import seconds_left
from workers.channels.push import MAX_TTL_S, push_data, shown, topic

_BODY_TYPE: Final = "application/octet-stream"


def webpush_headers(push: Message, now: datetime) -> dict[str, str]:
    """Whoever calls has seen to it that at least one whole second is left. A TTL must be there."""
    left = seconds_left(push.deadline_at, now)
    return {
        "TTL": str(MAX_TTL_S if left is None else min(left, MAX_TTL_S)),
        "Urgency": "high",
        "Topic": topic(push.collapse_id),
        "Content-Encoding": "aes128gcm",
        "Content-Type": _BODY_TYPE,
    }


def webpush_payload(push: Message) -> bytes:
    """JSON of `{notification: {title, body, tag}, data}`: the first for showNotification(); the
    tag replaces what is already on the screen, as the Topic does with what still waits."""
    data = push_data(push)
    notification = {**shown(push, data), "tag": topic(push.collapse_id)}
    return orjson.dumps({"notification": notification, "data": data})
