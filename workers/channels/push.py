"""What every push has, whoever carries it: the app's data, texts that fit, ids that collapse."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from protocol.payload import iso
from workers.channels.message import Message

APNS_COLLAPSE_BYTES: Final = 64
TITLE_BYTES: Final = 256
BODY_BYTES: Final = 1024
PAYLOAD_BYTES: Final = 4096
"""What FCM, APNs and Web Push take of title, body and data together, keys and quotes included."""
_FRAME_BYTES: Final = 256
"""Kept of that for what the providers wrap round it: the `aps` part, names of fields."""
URL_BYTES: Final = 2000
"""A link over this is left out: the app finds its way by the ids."""
MAX_TTL_S: Final = 2_419_200
"""Four weeks: FCM refuses a longer `ttl`, and Web Push and APNs keep nothing longer."""


def push_data(push: Message) -> dict[str, str]:
    """The app's part: FCM allows strings only. Absent fields are left out."""
    data = {
        "notificationId": push.notification_id,
        "kind": push.kind,
        "unread": str(push.unread),
    }
    if link_fits(push):
        data["url"] = push.url
    if push.question_id is not None:
        data["questionId"] = push.question_id
    if push.answer_id is not None:
        data["answerId"] = push.answer_id
    if push.deadline_at is not None:
        data["deadlineAt"] = iso(push.deadline_at)
    return data


def shown(push: Message, data: dict[str, str]) -> dict[str, str]:
    """Title and body, the body as long as the data leave room for."""
    title = clip(push.title, TITLE_BYTES)
    room = PAYLOAD_BYTES - _FRAME_BYTES - _json_bytes([data, title])
    limit = BODY_BYTES
    while _json_bytes(body := clip(push.body, limit)) > room and body:
        limit = limit * 3 // 4  # a character that JSON escapes takes more than its bytes
    return {"title": title, "body": body}


def link_fits(push: Message) -> bool:
    return len(push.url.encode("utf-8", "replace")) <= URL_BYTES


def topic(collapse_id: str) -> str:
    """RFC 8030 §5.4: at most 32 characters of URL-safe base64."""
    digest = hashlib.sha256(collapse_id.encode()).digest()
    return base64.urlsafe_b64encode(digest)[:32].decode()


def apns_headers(push: Message, now: datetime) -> dict[str, str]:
    """How APNs is to deliver it, whoever carries it there. A background push must carry priority 5,
    or APNs refuses it."""
    headers = {
        "apns-collapse-id": apns_collapse_id(push.collapse_id),
        "apns-priority": "5" if push.silent else "10",
        "apns-push-type": "background" if push.silent else "alert",
    }
    if push.deadline_at is not None:
        latest = now + timedelta(seconds=MAX_TTL_S)
        expires = int(min(push.deadline_at, latest).timestamp())
        headers["apns-expiration"] = str(max(1, expires))  # 0 would mean: never keep it
    return headers


def aps(push: Message) -> dict[str, Any]:
    """Apple's part of the payload, but for the texts."""
    if push.silent:
        return {"badge": push.unread, "content-available": 1}
    return {"badge": push.unread, "sound": "default"}


def apns_collapse_id(collapse_id: str) -> str:
    """As it is when a header can hold it and APNs take it (64 bytes), otherwise its hash."""
    fits = len(collapse_id.encode()) <= APNS_COLLAPSE_BYTES and _is_visible(collapse_id)
    return collapse_id if fits else hashlib.sha256(collapse_id.encode()).hexdigest()


def clip(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between characters and marked with an ellipsis."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    if limit < len("…".encode()):
        return ""
    return raw[: limit - 3].decode("utf-8", "ignore").rstrip() + "…"


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _json_bytes(value: object) -> int:
    return len(orjson.dumps(value))
