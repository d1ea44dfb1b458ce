"""What browsers and we tell each other for Web Push: their subscriptions, and our public key.

A subscription is what `PushSubscription.toJSON()` holds (W3C Push API §8). Whoever has it can send
to this browser, so it is a secret, and is in no repr.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BROWSERS_HOSTS: Final = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""The push services of Chrome and its kin, Firefox, Safari and Edge."""
_SECRET_BYTES: Final = 16
"""Of `auth` (RFC 8291 §3.2)."""


@dataclass(frozen=True)
class Subscription:
    """`p256dh`: the browser's public key, a point of P-256 uncompressed; `auth`: 16 bytes it shares
    with us. Made by `read_subscription`."""

    endpoint: str = field(repr=False)
    p256dh: bytes = field(repr=False)
    auth: bytes = field(repr=False)

    @cached_property
    def _parts(self) -> SplitResult:
        return urlsplit(self.endpoint)

    @property
    def host(self) -> str:
        return self._parts.hostname or ""

    @property
    def encrypted(self) -> bool:
        return self._parts.scheme == "https"

    @property
    def origin(self) -> str:
        return f"{self._parts.scheme}://{self._parts.netloc}"

    def text(self) -> str:
        """One text for one subscription, however a browser wrote it."""
        keys = {"auth": to_base64url(self.auth), "p256dh": to_base64url(self.p256dh)}
        return json.dumps({"endpoint": self.endpoint, "keys": keys}, separators=(",", ":"))


def read_subscription(text: str) -> Subscription:
    """Raises ValueError, with nothing of the text in it."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or not isinstance(raw.get("keys"), dict):
        raise ValueError("must be a push subscription as JSON")
    keys = raw["keys"]
    endpoint = raw.get("endpoint")
    p256dh, auth = _bytes(keys.get("p256dh")), _bytes(keys.get("auth"))
    if not isinstance(endpoint, str) or not _is_url(endpoint):
        raise ValueError("the subscription's endpoint must be a URL")
    if len(auth) != _SECRET_BYTES or not _is_point(p256dh):
        raise ValueError("the subscription's keys p256dh and auth cannot be used")
    return Subscription(endpoint, p256dh, auth)


def read_vapid_key(text: str) -> EllipticCurvePrivateKey:
    """A key as every Web Push library makes it: 32 bytes in base64url. Raises ValueError, with
    nothing of the text in it."""
    try:
        raw = from_base64url(text.strip())
        if len(raw) != 32:
            raise ValueError
        return derive_private_key(int.from_bytes(raw, "big"), SECP256R1())
    except ValueError:
        raise ValueError("must be 32 bytes in base64url, of the curve P-256") from None


def public_text(key: EllipticCurvePrivateKey) -> str:
    """What a browser subscribes with: `applicationServerKey` (RFC 8292 §4.1)."""
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return to_base64url(point)


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """With or without padding, and in the other alphabet, too. Raises ValueError."""
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars="-_", validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None


def _bytes(value: Any) -> bytes:
    try:
        return from_base64url(value) if isinstance(value, str) else b""
    except ValueError:
        return b""


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    no_login = parts.username is None and parts.password is None
    return (
        plain
        and no_login
        and port != 0
        and bool(parts.hostname)
        and parts.scheme in ("https", "http")
    )


def _is_point(raw: bytes) -> bool:
    """A key that is no point of the curve would give secrets away when it is used, or fail."""
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
    except ValueError:
        return False
    return len(raw) == 65
