"""What the real APNs refuses, answered as it answers ("Sending notification requests to APNs",
"Establishing a token-based connection to APNs", "Handling notification responses from APNs")."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_PUSH_TYPES = {
    "alert", "background", "location", "voip", "complication", "fileprovider", "mdm",
    "liveactivity", "pushtotalk", "widgets", "controls",
}  # fmt: skip
_TOKEN_LIFE_S = 3600


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    reason: str
    timestamp: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        answer: dict[str, Any] = {"reason": self.reason}
        if self.timestamp is not None:
            answer["timestamp"] = self.timestamp
        return json.dumps(answer).encode()


def bearer_refusal(
    header: str, key: EllipticCurvePublicKey, names: tuple[str, str], now: float
) -> Refusal | None:
    """`names`: the key's id and the team's."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        return Refusal(403, "MissingProviderToken")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        checks = {"verify_iat": False, "verify_exp": False}
        claims = jwt.decode(token, key, algorithms=["ES256"], options=checks)  # type: ignore[arg-type]
    except jwt.PyJWTError:
        return Refusal(403, "InvalidProviderToken")
    issued_at = claims.get("iat")
    if (kid, claims.get("iss")) != names or not isinstance(issued_at, int) or issued_at > now + 60:
        return Refusal(403, "InvalidProviderToken")
    return Refusal(403, "ExpiredProviderToken") if now - issued_at > _TOKEN_LIFE_S else None


def refusal(headers: dict[str, str], body: bytes | bytearray, topic: str) -> Refusal | None:
    """Of the request's form; None for one that is right."""
    if headers.get(":method") != "POST":
        return Refusal(405, "MethodNotAllowed")
    path = headers.get(":path", "")
    if not path.startswith("/3/device/"):
        return Refusal(404, "BadPath")
    token = path.removeprefix("/3/device/")
    if not token:
        return Refusal(400, "MissingDeviceToken")
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2}){1,100}", token):
        return Refusal(400, "BadDeviceToken")
    return _of_headers(headers, topic) or _of_payload(headers, bytes(body))


def _of_headers(headers: dict[str, str], topic: str) -> Refusal | None:
    kind, priority = headers.get("apns-push-type", "alert"), headers.get("apns-priority", "10")
    if "apns-topic" not in headers:
        return Refusal(400, "MissingTopic")
    if headers["apns-topic"] != topic:
        return Refusal(400, "TopicDisallowed")
    if not _is_uuid(headers.get("apns-id")):
        return Refusal(400, "BadMessageId")
    if not re.fullmatch(r"\d{1,10}", headers.get("apns-expiration", "1")):
        return Refusal(400, "BadExpirationDate")
    if priority not in {"1", "5", "10"} or (kind == "background" and priority == "10"):
        return Refusal(400, "BadPriority")
    if len(headers.get("apns-collapse-id", "").encode()) > 64:
        return Refusal(400, "BadCollapseId")
    return None if kind in _PUSH_TYPES else Refusal(400, "InvalidPushType")


def _of_payload(headers: dict[str, str], body: bytes) -> Refusal | None:
    if not body:
        return Refusal(400, "PayloadEmpty")
    if len(body) > 4096:
        return Refusal(413, "PayloadTooLarge")
    aps = json.loads(body).get("aps")
    silent = headers.get("apns-push-type") == "background"
    shown = {"alert", "sound"} & set(aps)
    if silent and (shown or aps.get("content-available") != 1):
        return Refusal(400, "InvalidPushType")
    return None


def _is_uuid(value: str | None) -> bool:
    """32 lowercase hexadecimal digits in groups of 8-4-4-4-12; APNs makes one where none came."""
    try:
        return value is None or str(UUID(value)) == value
    except ValueError:
        return False
