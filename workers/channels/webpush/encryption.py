"""A payload that only the browser can read: aes128gcm (RFC 8188) with keys of RFC 8291."""

import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.web_push import Subscription

_RECORD_BYTES: Final = 4096
_HEAD_BYTES: Final = 16 + 4 + 1 + 65
_LAST: Final = b"\x02"
PLAIN_BYTES: Final = 4096 - _HEAD_BYTES - 16 - len(_LAST)
"""What a payload may have so that its message fits the 4,096 bytes that every push service takes
(RFC 8030 §7.2)."""


def encrypt(
    plain: bytes,
    to: Subscription,
    *,
    key: EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of one message; `key` and `salt` are new ones for each, but for a test.

    Raises ValueError for more than PLAIN_BYTES.
    """
    if len(plain) > PLAIN_BYTES:
        raise ValueError("the payload is too long")
    key = key or generate_private_key(SECP256R1())
    salt = salt or os.urandom(16)
    ours = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    theirs = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), to.p256dh)
    shared = key.exchange(ECDH(), theirs)
    secret = _derive(shared, to.auth, b"WebPush: info\0" + to.p256dh + ours, 32)
    content_key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    record = AESGCM(content_key).encrypt(nonce, plain + _LAST, None)
    return salt + _RECORD_BYTES.to_bytes(4, "big") + bytes([len(ours)]) + ours + record


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
