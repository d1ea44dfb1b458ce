"""Who sends: a JWT for each push service, signed with the key the browser subscribed with
(RFC 8292)."""

from datetime import datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from protocol.web_push import public_text

_LIFE: Final = timedelta(hours=12)
"""RFC 8292 §2 allows 24 hours, and push services' clocks differ from ours."""
_MOST: Final = 1000


class Vapid:
    """`subject`: where a push service's people reach ours, a mailto: or https: URL."""

    def __init__(self, key: EllipticCurvePrivateKey, subject: str) -> None:
        self._key = key
        self._subject = subject
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self.public_key = public_text(key)

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
