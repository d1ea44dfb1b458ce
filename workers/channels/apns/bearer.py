"""The provider token: a JWT signed with the .p8 key that Apple gave out, carried by each request.

Apple wants a new one no more often than every 20 minutes and takes none that is over an hour old
("Establishing a token-based connection to APNs"). So its `iat` is the beginning of one of the
45-minute spans that everybody's clock has in common, and its signature is deterministic (RFC 6979):
all workers of a fleet carry the very same token, and one that starts again makes no new one.
"""

from datetime import datetime
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm
from jwt.utils import der_to_raw_signature

SPAN_S: Final = 2700
_ALGORITHM: Final = "ES256"


class ApnsSettingsError(ValueError):
    """APNS_KEY_FILE, or what belongs to it, cannot be used. Never shows what the file holds."""


class ProviderTokens:
    """Tokens of one key of one team. Raises ApnsSettingsError."""

    def __init__(self, key_file: Path, key_id: str, team_id: str) -> None:
        self._key = _read_key(key_file)
        self._key_id = key_id
        self._team_id = team_id
        self._signer = jwt.PyJWS(algorithms=[])
        self._signer.register_algorithm(_ALGORITHM, _Deterministic(hashes.SHA256))
        self._token = ""
        self._issued_at = -1

    def at(self, now: datetime) -> str:
        """The token of this span; up to 45 minutes old."""
        issued_at = int(now.timestamp()) // SPAN_S * SPAN_S
        if issued_at != self._issued_at:
            self._token = self._sign(issued_at)
            self._issued_at = issued_at
        return self._token

    def _sign(self, issued_at: int) -> str:
        claims = b'{"iss":"%s","iat":%d}' % (self._team_id.encode(), issued_at)
        headers = {"kid": self._key_id, "typ": None}
        return self._signer.encode(claims, self._key, algorithm=_ALGORITHM, headers=headers)


class _Deterministic(ECAlgorithm):
    def sign(self, msg: bytes, key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> bytes:
        assert isinstance(key, EllipticCurvePrivateKey)
        signature = key.sign(msg, ECDSA(hashes.SHA256(), deterministic_signing=True))
        return der_to_raw_signature(signature, key.curve)


def _read_key(path: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ApnsSettingsError(f"APNS_KEY_FILE cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ApnsSettingsError("APNS_KEY_FILE holds no private key") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ApnsSettingsError("APNS_KEY_FILE holds no key of the curve P-256")
    return key
