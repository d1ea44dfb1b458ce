"""A push as FCM HTTP v1 wants it (projects.messages, `Message`)."""

from datetime import datetime
from typing import Any

from protocol.payload import iso
from workers.channels.message import Message
from workers.channels.outcome import seconds_left
from workers.channels.push import (
    MAX_TTL_S,
    apns_headers,
    aps,
    link_fits,
    push_data,
    shown,
    topic,
)


def fcm_body(token: str, push: Message, now: datetime) -> dict[str, Any]:
    """The JSON of one messages:send; times to live are worked out from `now`, when it is sent.

    Whoever calls has seen to it that at least one whole second is left.
    """
    left = seconds_left(push.deadline_at, now)
    ttl = None if left is None else min(left, MAX_TTL_S)
    data = push_data(push)
    message: dict[str, Any] = {
        "token": token,
        "data": data,
        "android": _android(push, ttl),
        "apns": {"headers": apns_headers(push, now), "payload": {"aps": aps(push)}},
        "webpush": _webpush(push, ttl),
    }
    if not push.silent:
        message["notification"] = shown(push, data)
    return {"message": message}


def _android(push: Message, ttl: int | None) -> dict[str, Any]:
    block: dict[str, Any] = {"priority": "NORMAL" if push.silent else "HIGH"}
    block["collapse_key"] = push.collapse_id
    if ttl is not None:
        block["ttl"] = f"{ttl}s"
    if not push.silent:
        # collapse_key replaces what waits at FCM, the tag replaces what is already on the screen
        block["notification"] = {"tag": push.collapse_id, "event_time": iso(push.created_at)}
    return block


def _webpush(push: Message, ttl: int | None) -> dict[str, Any]:
    headers = {"Urgency": "high", "Topic": topic(push.collapse_id)}
    if ttl is not None:
        headers["TTL"] = str(ttl)
    block: dict[str, Any] = {"headers": headers}
    if push.url.startswith("https://") and link_fits(push):  # FCM refuses any other link
        block["fcm_options"] = {"link": push.url}
    return block
