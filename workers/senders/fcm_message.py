"""A push as FCM HTTP v1 wants it (projects.messages, `Message`)."""

import base64
import hashlib
from datetime import datetime
from typing import Any, Final

from hub.plumbing.clock import iso
from workers.senders.outcome import PushMessage, seconds_left

APNS_COLLAPSE_BYTES: Final = 64
TITLE_BYTES: Final = 256
BODY_BYTES: Final = 1024
"""FCM takes 4096 bytes of notification and data together: with these two nothing comes near it."""


def fcm_body(token: str, push: PushMessage, now: datetime) -> dict[str, Any]:
    """The JSON of one messages:send; times to live are worked out from `now`, when it is sent.

    Whoever calls has seen to it that at least one whole second is left.
    """
    ttl = seconds_left(push.deadline_at, now)
    message: dict[str, Any] = {
        "token": token,
        "data": push_data(push),
        "android": _android(push, ttl),
        "apns": _apns(push),
        "webpush": _webpush(push, ttl),
    }
    if not push.silent:
        message["notification"] = {
            "title": clip(push.title, TITLE_BYTES),
            "body": clip(push.body, BODY_BYTES),
        }
    return {"message": message}


def push_data(push: PushMessage) -> dict[str, str]:
    """The app's part: FCM allows strings only. Absent fields are left out."""
    data = {
        "notificationId": push.notification_id,
        "kind": push.kind,
        "unread": str(push.unread),
        "url": push.url,
    }
    if push.question_id is not None:
        data["questionId"] = push.question_id
    if push.answer_id is not None:
        data["answerId"] = push.answer_id
    if push.deadline_at is not None:
        data["deadlineAt"] = iso(push.deadline_at)
    return data


def _android(push: PushMessage, ttl: int | None) -> dict[str, Any]:
    block: dict[str, Any] = {"priority": "NORMAL" if push.silent else "HIGH"}
    block["collapse_key"] = push.collapse_id
    if ttl is not None:
        block["ttl"] = f"{ttl}s"
    if not push.silent:
        # collapse_key replaces what waits at FCM, the tag replaces what is already on the screen
        block["notification"] = {"tag": push.collapse_id, "event_time": iso(push.created_at)}
    return block


def _apns(push: PushMessage) -> dict[str, Any]:
    """A background push must carry priority 5, or APNs refuses it."""
    headers = {
        "apns-collapse-id": apns_collapse_id(push.collapse_id),
        "apns-priority": "5" if push.silent else "10",
        "apns-push-type": "background" if push.silent else "alert",
    }
    if push.deadline_at is not None:
        headers["apns-expiration"] = str(max(1, int(push.deadline_at.timestamp())))
    aps: dict[str, Any] = {"badge": push.unread}
    if push.silent:
        aps["content-available"] = 1
    else:
        aps["sound"] = "default"
    return {"headers": headers, "payload": {"aps": aps}}


def _webpush(push: PushMessage, ttl: int | None) -> dict[str, Any]:
    headers = {"Urgency": "high", "Topic": topic(push.collapse_id)}
    if ttl is not None:
        headers["TTL"] = str(ttl)
    block: dict[str, Any] = {"headers": headers}
    if push.url.startswith("https://"):  # FCM refuses any other link
        block["fcm_options"] = {"link": push.url}
    return block


def topic(collapse_id: str) -> str:
    """RFC 8030 §5.4: at most 32 characters of URL-safe base64."""
    digest = hashlib.sha256(collapse_id.encode()).digest()
    return base64.urlsafe_b64encode(digest)[:32].decode()


def apns_collapse_id(collapse_id: str) -> str:
    """As it is when APNs can take it (64 bytes), otherwise its hash."""
    fits = len(collapse_id.encode()) <= APNS_COLLAPSE_BYTES and collapse_id.isascii()
    return collapse_id if fits else hashlib.sha256(collapse_id.encode()).hexdigest()


def clip(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between characters and marked with an ellipsis."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore").rstrip() + "…"
