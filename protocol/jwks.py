"""Public keys of somebody else's tokens, as a JSON Web Key Set tells them (RFC 7517).

Pure: who fetches a set is hub.plumbing.http.jwks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from protocol.names import is_plain

PublicAlgorithm = Literal["RS256", "ES256", "EdDSA"]

MOST_KEYS: Final = 32
"""Of one set: a token that names no key is tried with each of its algorithm."""

MOST_KID: Final = 256
LEAST_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""

PublicMaterial = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key and the one algorithm it belongs to, so that no token can choose another one for it.
    `kid` is empty where the set gives none.
    """

    kid: str
    algorithm: PublicAlgorithm
    material: PublicMaterial


def read_jwks(told: object) -> tuple[PublicKey, ...]:
    """The keys of a set that verify our algorithms; whatever else stands in it is passed over, a
    symmetric key above all: it is no secret to whoever can read the set.

    Raises ValueError for what is no set at all, and for one with more than MOST_KEYS.
    """
    entries = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no set of keys")
    if len(entries) > MOST_KEYS:
        raise ValueError(f"more than {MOST_KEYS} keys")
    found = (_key(entry) for entry in entries if isinstance(entry, dict))
    return tuple(key for key in found if key is not None)


def _key(entry: dict[str, Any]) -> PublicKey | None:
    kid, type_ = entry.get("kid", ""), entry.get("kty")
    kind = _KINDS.get(type_) if isinstance(type_, str) else None
    if kind is None or not _is_kid(kid) or not _verifies(entry):
        return None
    algorithm, material_of = kind
    if entry.get("alg", algorithm) != algorithm:
        return None
    try:
        material = material_of(entry)
    except (PyJWTError, ValueError, TypeError):
        return None
    return None if material is None else PublicKey(kid, algorithm, material)


def _is_kid(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_KID and is_plain(value)


def _verifies(entry: Mapping[str, Any]) -> bool:
    """Not made for encryption (RFC 7517 §4.2, §4.3), and no private key that somebody published by
    mistake: anybody could sign with that one."""
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in entry
    )


def _rsa(entry: dict[str, Any]) -> PublicMaterial | None:
    key = RSAAlgorithm.from_jwk(entry)
    strong = isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA_BITS
    return key if strong and isinstance(key, RSAPublicKey) else None


def _ec(entry: dict[str, Any]) -> PublicMaterial | None:
    key = ECAlgorithm.from_jwk(entry)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    return None


def _okp(entry: dict[str, Any]) -> PublicMaterial | None:
    key = OKPAlgorithm.from_jwk(entry)
    return key if isinstance(key, Ed25519PublicKey) else None


_KINDS: Final[
    dict[str, tuple[PublicAlgorithm, Callable[[dict[str, Any]], PublicMaterial | None]]]
] = {"RSA": ("RS256", _rsa), "EC": ("ES256", _ec), "OKP": ("EdDSA", _okp)}
