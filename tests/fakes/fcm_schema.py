"""What the real FCM HTTP v1 refuses in a message, answered as it answers."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

_FCM = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD = "type.googleapis.com/google.rpc.BadRequest"
_MAX_TTL_S = 2_419_200
_FIELDS: dict[str, set[str]] = {
    "": {"validate_only", "message"},
    "message": {"name", "data", "notification", "android", "webpush", "apns", "fcm_options",
                "token", "topic", "condition"},
    "message.notification": {"title", "body", "image"},
    "message.android": {"collapse_key", "priority", "ttl", "restricted_package_name", "data",
                        "notification", "fcm_options", "direct_boot_ok"},
    "message.android.notification": {"title", "body", "icon", "color", "sound", "tag",
                                     "click_action", "channel_id", "event_time", "image"},
    "message.webpush": {"headers", "data", "notification", "fcm_options"},
    "message.webpush.fcm_options": {"link", "analytics_label"},
    "message.apns": {"headers", "payload", "fcm_options"},
}  # fmt: skip
_OPEN = {"message.data", "message.webpush.headers", "message.apns.headers", "message.apns.payload"}


def error(status: int, name: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": status, "status": name, "message": message, "details": list(details)}}


def fcm_detail(code: str) -> dict[str, Any]:
    return {"@type": _FCM, "errorCode": code}


UNREGISTERED = error(
    404, "NOT_FOUND", "Requested entity was not found.", fcm_detail("UNREGISTERED")
)
NOT_A_TOKEN = error(
    400,
    "INVALID_ARGUMENT",
    "The registration token is not a valid FCM registration token",
    fcm_detail("INVALID_ARGUMENT"),
)
NOT_A_TOKEN_WITH_FIELD = error(
    400,
    "INVALID_ARGUMENT",
    "Request contains an invalid argument.",
    fcm_detail("INVALID_ARGUMENT"),
    {
        "@type": _BAD,
        "fieldViolations": [
            {"field": "message.token", "description": "Invalid registration token"}
        ],
    },
)
WRONG_SENDER = error(
    403, "PERMISSION_DENIED", "SenderId mismatch", fcm_detail("SENDER_ID_MISMATCH")
)
QUOTA = error(
    429, "RESOURCE_EXHAUSTED", "Quota exceeded for this project.", fcm_detail("QUOTA_EXCEEDED")
)
DEVICE_QUOTA = error(
    429,
    "RESOURCE_EXHAUSTED",
    "Device message rate exceeded",
    fcm_detail("QUOTA_EXCEEDED"),
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"subject": "device:token", "description": "Device message rate exceeded"}],
    },
)
AWAY = error(503, "UNAVAILABLE", "The service is unavailable.", fcm_detail("UNAVAILABLE"))
BROKEN = error(500, "INTERNAL", "Internal error encountered.", fcm_detail("INTERNAL"))
NO_APNS_KEY = error(
    401, "UNAUTHENTICATED", "Auth error from APNS", fcm_detail("THIRD_PARTY_AUTH_ERROR")
)
NO_BEARER = error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")


def refusal(body: Any) -> dict[str, Any] | None:
    """Google's error for a body that is not right, None for one that is."""
    for field, text in _violations(body):
        detail = {"@type": _BAD, "fieldViolations": [{"field": field, "description": text}]}
        return error(400, "INVALID_ARGUMENT", f"Invalid value at '{field}': {text}", detail)
    return None


def _violations(body: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(body, dict) or not isinstance(body.get("message"), dict):
        yield "message", "a message is needed"
        return
    yield from _unknown_names(body, "")
    message = body["message"]
    if len({"token", "topic", "condition"} & message.keys()) != 1:
        yield "message", "Recipient of the message is not set."
    yield from _texts(message)
    yield from _data(message.get("data", {}))
    yield from _android(message.get("android", {}))
    yield from _apns(message.get("apns", {}))
    yield from _webpush(message.get("webpush", {}))
    shown = {key: message[key] for key in ("notification", "data") if key in message}
    aps = {"aps": message.get("apns", {}).get("payload", {})}
    if len(orjson.dumps({**shown, **aps})) > 4096:
        yield "message", "Message too big"


def _unknown_names(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        inner_path = f"{path}.{name}" if path else name
        if path not in _FIELDS or name not in _FIELDS[path]:
            yield inner_path, "Unknown name: Cannot find field."
        elif isinstance(inner, dict) and inner_path not in _OPEN:
            yield from _unknown_names(inner, inner_path)


def _texts(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in message.get("notification", {}).items():
        if not isinstance(value, str):
            yield f"message.notification.{name}", "TYPE_STRING"


def _data(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        if not isinstance(value, str):
            yield f"message.data[{name}].value", "TYPE_STRING"
        if name in {"from", "message_type"} or name.startswith(("google", "gcm")):
            yield f"message.data[{name}]", "reserved key"


def _android(android: dict[str, Any]) -> Iterator[tuple[str, str]]:
    ttl = android.get("ttl", "1s")
    if not re.fullmatch(r"\d+(\.\d{1,9})?s", ttl) or float(ttl[:-1]) > _MAX_TTL_S:
        yield "message.android.ttl", "Invalid TTL"
    if android.get("priority", "HIGH") not in {"NORMAL", "HIGH", "normal", "high"}:
        yield "message.android.priority", "Invalid value"


def _apns(apns: dict[str, Any]) -> Iterator[tuple[str, str]]:
    headers = apns.get("headers", {})
    if any(not isinstance(value, str) for value in headers.values()):
        yield "message.apns.headers", "TYPE_STRING"
    if len(headers.get("apns-collapse-id", "").encode()) > 64:
        yield "message.apns.headers", "apns-collapse-id is longer than 64 bytes"
    if not re.fullmatch(r"[1-9]\d{0,11}", headers.get("apns-expiration", "1")):
        yield "message.apns.headers", "apns-expiration"
    background = headers.get("apns-push-type") == "background"
    if background and headers.get("apns-priority") != "5":
        yield "message.apns.headers", "a background push has priority 5"


def _webpush(webpush: dict[str, Any]) -> Iterator[tuple[str, str]]:
    headers = webpush.get("headers", {})
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers.get("Topic", "x")):
        yield "message.webpush.headers", "Topic (RFC 8030 §5.4)"
    ttl = headers.get("TTL", "0")
    if not ttl.isdigit() or int(ttl) > _MAX_TTL_S:
        yield "message.webpush.headers", "TTL"
    if not webpush.get("fcm_options", {}).get("link", "https://x").startswith("https://"):
        yield "message.webpush.fcm_options.link", "must be https"
