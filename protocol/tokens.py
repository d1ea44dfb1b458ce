"""Reads and signs tokens (HS256). Keys and time are arguments; nothing here looks at a clock."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Literal

import jwt
from jwt.algorithms import HMACAlgorithm

from protocol.errors import Code, HubError
from protocol.names import is_plain

Role = Literal["user", "admin"]

LONGEST_LIFE_S = 7 * 86_400
"""From `iat` to `exp`, whoever signed: what was stolen ends with it (JWT_EXPIRATION is at most
this)."""

SKEW_S = 60.0
"""How far the clock of who signed may be ahead of ours (RFC 7519 §4.1.4: "a few minutes")."""

_prepared = lru_cache(maxsize=16)(HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key)


class _KnownSecrets(HMACAlgorithm):
    """Looks at the form of a secret once; PyJWT's own does at each token (14 of 50 us)."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return _prepared(key)


jwt.unregister_algorithm("HS256")
jwt.register_algorithm("HS256", _KnownSecrets(HMACAlgorithm.SHA256))


@dataclass(frozen=True, slots=True)
class Token:
    """What an access token says: times are epoch seconds, `issued_at` with its fraction."""

    user_id: str
    role: Role
    jti: str
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Secrets in force: the first signs, all of them verify (rotation)."""

    secrets: tuple[str, ...]
    issuer: str
    audience: str | None = None


def sign_access(
    keys: TokenKeys, user_id: str, role: Role, *, now: datetime, ttl_s: float, jti: str
) -> str:
    return _sign(keys, {"sub": user_id, "role": role, "typ": "access"}, now, ttl_s, jti)


def sign_refresh(
    keys: TokenKeys, user_id: str, family: str, *, now: datetime, ttl_s: float, jti: str
) -> str:
    return _sign(keys, {"sub": user_id, "fam": family, "typ": "refresh"}, now, ttl_s, jti)


def _sign(keys: TokenKeys, claims: dict[str, Any], now: datetime, ttl_s: float, jti: str) -> str:
    at = now.timestamp()
    claims |= {"iat": at, "exp": at + ttl_s, "jti": jti, "iss": keys.issuer}
    if keys.audience:
        claims["aud"] = keys.audience
    return jwt.encode(claims, keys.secrets[0], algorithm="HS256")


def read_access(keys: TokenKeys, text: object, *, now: datetime) -> Token:
    """Verify an access token.

    Raises HubError UNAUTHENTICATED for anything malformed or forged and before `nbf`,
    TOKEN_EXPIRED past `exp`. Times are finite numbers (RFC 7519 §2, NumericDate).
    The caller compares `issued_at` and `jti` with what was revoked (S5-44): PyJWT looks at the
    integer part of `iat` only, which would cut a login in the second of a revocation.
    """
    if not isinstance(text, str) or not 0 < len(text) <= 4096:
        raise HubError(Code.UNAUTHENTICATED)
    claims = _verified(keys, text)
    try:
        token = Token(
            user_id=claims["sub"],
            role=claims["role"],
            jti=claims["jti"],
            issued_at=_numeric_date(claims["iat"]),
            expires_at=_numeric_date(claims["exp"]),
        )
        not_before = _numeric_date(claims.get("nbf", 0))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise HubError(Code.UNAUTHENTICATED) from None
    if not_before > now.timestamp() + SKEW_S:  # RFC 7519 §4.1.5
        raise HubError(Code.UNAUTHENTICATED)
    if claims.get("typ") != "access" or token.role not in ("user", "admin"):
        raise HubError(Code.UNAUTHENTICATED)
    if not (_is_name(token.user_id, 128) and _is_name(token.jti, 256)):
        raise HubError(Code.UNAUTHENTICATED)
    if token.expires_at <= now.timestamp():
        raise HubError(Code.TOKEN_EXPIRED)
    if token.issued_at > now.timestamp() + SKEW_S:  # a revocation by time would never reach it
        raise HubError(Code.UNAUTHENTICATED)
    if token.expires_at - token.issued_at > LONGEST_LIFE_S:
        raise HubError(Code.UNAUTHENTICATED)
    return token


def _numeric_date(value: object) -> float:
    """Raises TypeError for what is no number, ValueError or OverflowError for one without end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    at = float(value)
    if not isfinite(at):
        raise ValueError
    return at


def _is_name(value: object, most: int) -> bool:
    """Names go into keys of Redis and rows of PostgreSQL."""
    return isinstance(value, str) and 0 < len(value) <= most and is_plain(value)


def _verified(keys: TokenKeys, text: str) -> dict[str, Any]:
    for secret in keys.secrets:
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                secret,
                algorithms=["HS256"],
                issuer=keys.issuer,
                audience=keys.audience,
                options={
                    "verify_exp": False,  # the clock is an argument of ours
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": keys.audience is not None,
                    "require": ["sub", "iat", "exp", "jti", "iss"],
                },
            )
            return claims
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValueError):
            break
    raise HubError(Code.UNAUTHENTICATED)


SERVICE_KEY_PREFIX = "dk_"


def new_service_key(client_id: str) -> tuple[str, bytes]:
    """A key for a service client as it is shown once, and the hash that is kept."""
    secret = secrets.token_urlsafe(32)
    return f"{SERVICE_KEY_PREFIX}{client_id}.{secret}", hash_secret(secret)


def split_service_key(key: str) -> tuple[str, str] | None:
    """Client id and secret of a service key; None when the text is no service key."""
    if not key.startswith(SERVICE_KEY_PREFIX) or len(key) > 512 or not is_plain(key):
        return None
    client_id, dot, secret = key[len(SERVICE_KEY_PREFIX) :].rpartition(".")
    return (client_id, secret) if dot and client_id and secret else None


def hash_secret(secret: str) -> bytes:
    """SHA-256: the secrets are 32 random bytes, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()


def same_hash(left: bytes, right: bytes) -> bool:
    return hmac.compare_digest(left, right)
