"""Who sends: a JWT for each push service, signed with the key the browser subscribed with
(RFC 8292)."""

import re
from datetime import datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.web_push import from_base64url, to_base64url

_LIFE: Final = timedelta(hours=12)
"""RFC 8292 §2 allows 24 hours, and push services' clocks differ from ours."""
_MOST: Final = 1000
_SUBJECT: Final = re.compile(r"mailto:[^@\s]+@[^@\s]+|https://\S+")


class VapidSettingsError(ValueError):
    """VAPID_PRIVATE_KEY or VAPID_SUBJECT cannot be used. Never shows the key."""


class Vapid:
    """`private_key`: 32 bytes in base64url, as every Web Push library makes them. `subject`: where
    a push service's people reach ours. Raises VapidSettingsError."""

    def __init__(self, private_key: str, subject: str) -> None:
        if not _SUBJECT.fullmatch(subject):
            raise VapidSettingsError("VAPID_SUBJECT must be mailto:somebody@example.org or a URL")
        self._subject = subject
        self._key = _read_key(private_key)
        self._tokens: dict[str, tuple[str, datetime]] = {}
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = to_base64url(point)

    def authorization(self, origin: str, now: datetime) -> str:
        """The header for one push service; its token is made anew when half of its life is over."""
        token, until = self._tokens.get(origin, ("", now))
        if until - now <= _LIFE / 2:
            until = now + _LIFE
            claims = {"aud": origin, "exp": int(until.timestamp()), "sub": self._subject}
            token = jwt.encode(claims, self._key, algorithm="ES256")
            if len(self._tokens) >= _MOST:
                self._tokens.clear()
            self._tokens[origin] = token, until
        return f"vapid t={token}, k={self.public_key}"


def _read_key(text: str) -> EllipticCurvePrivateKey:
    try:
        raw = from_base64url(text.strip())
        if len(raw) != 32:
            raise ValueError
        return derive_private_key(int.from_bytes(raw, "big"), SECP256R1())
    except ValueError:
        raise VapidSettingsError("VAPID_PRIVATE_KEY must be 32 bytes in base64url") from None
