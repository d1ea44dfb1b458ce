"""A push as FCM HTTP v1 wants it (projects.messages, `Message`)."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from protocol.payload import iso
from workers.senders.outcome import PushMessage, seconds_left

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


def fcm_body(token: str, push: PushMessage, now: datetime) -> dict[str, Any]:
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
        "apns": _apns(push, now),
        "webpush": _webpush(push, ttl),
    }
    if not push.silent:
        message["notification"] = _shown(push, data)
    return {"message": message}


def _shown(push: PushMessage, data: dict[str, str]) -> dict[str, str]:
    """Title and body, the body as long as the data leave room for."""
    title = clip(push.title, TITLE_BYTES)
    room = PAYLOAD_BYTES - _FRAME_BYTES - _json_bytes([data, title])
    limit = BODY_BYTES
    while _json_bytes(body := clip(push.body, limit)) > room and body:
        limit = limit * 3 // 4  # a character that JSON escapes takes more than its bytes
    return {"title": title, "body": body}


def push_data(push: PushMessage) -> dict[str, str]:
    """The app's part: FCM allows strings only. Absent fields are left out."""
    data = {
        "notificationId": push.notification_id,
        "kind": push.kind,
        "unread": str(push.unread),
    }
    if _link_fits(push):
        data["url"] = push.url
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


def _apns(push: PushMessage, now: datetime) -> dict[str, Any]:
    """A background push must carry priority 5, or APNs refuses it."""
    headers = {
        "apns-collapse-id": apns_collapse_id(push.collapse_id),
        "apns-priority": "5" if push.silent else "10",
        "apns-push-type": "background" if push.silent else "alert",
    }
    if push.deadline_at is not None:
        latest = now + timedelta(seconds=MAX_TTL_S)
        expires = int(min(push.deadline_at, latest).timestamp())
        headers["apns-expiration"] = str(max(1, expires))  # 0 would mean: never keep it
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
    if push.url.startswith("https://") and _link_fits(push):  # FCM refuses any other link
        block["fcm_options"] = {"link": push.url}
    return block


def _link_fits(push: PushMessage) -> bool:
    return len(push.url.encode("utf-8", "replace")) <= URL_BYTES


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
    if limit < len("…".encode()):
        return ""
    return raw[: limit - 3].decode("utf-8", "ignore").rstrip() + "…"


def _json_bytes(value: object) -> int:
    return len(orjson.dumps(value))
