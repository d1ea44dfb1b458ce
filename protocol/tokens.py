"""Reads and signs tokens. Keys and time are arguments; nothing here looks at a clock or a network.

Ours are signed with JWT_SECRET (HS256). Access tokens of somebody else's are verified with the
public keys of their set (protocol.jwks). A key belongs to one algorithm: the header of a token
chooses among the keys of that algorithm, and never how a key is used (RFC 8725 §3.1).
"""

import hashlib
import hmac
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Final, Literal
from uuid import UUID

import jwt
from jwt.algorithms import get_default_algorithms

from protocol.errors import Code, HubError
from protocol.jwks import MOST_KID, PublicAlgorithm, PublicKey, PublicMaterial
from protocol.names import is_plain

Role = Literal["user", "admin"]
Algorithm = Literal["HS256"] | PublicAlgorithm

ALGORITHMS: Final[tuple[Algorithm, ...]] = ("HS256", "RS256", "ES256", "EdDSA")

LONGEST_LIFE_S = 7 * 86_400
"""From `iat` to `exp`, whoever signed: what was stolen ends with it (JWT_EXPIRATION is at most
this)."""

SKEW_S = 60.0
"""How far the clock of who signed may be ahead of ours (RFC 7519 §4.1.4: "a few minutes")."""

MOST_CHARS: Final = 4096
"""Of a token."""


_CHECKS: Final[dict[str, Any]] = {
    name: check for name, check in get_default_algorithms().items() if name in ALGORITHMS
}
"""How PyJWT checks signatures. Its own reading of a token looks at each character in Python, which
is half of what a token costs (40 of 80 us)."""

_JWS: Final = jwt.PyJWS(algorithms=["HS256"])


@dataclass(frozen=True, slots=True)
class Token:
    """What an access token says: times are epoch seconds, `issued_at` with its fraction. `jti` is
    empty where the service that signed it gives none: then it is revoked by person or time only.
    """

    user_id: str
    role: Role
    jti: str
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token says; `jti` is the number of its row, `family` that of the login."""

    user_id: str
    role: Role
    jti: UUID
    family: UUID
    expires_at: float


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """The client it speaks for, and what of it; None: all that the client may."""

    client_id: str
    jti: str
    scopes: frozenset[str] | None
    room_prefixes: tuple[str, ...] | None
    event_types: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Secrets in force, and what is asked of an access token.

    The first secret signs, all of them verify (rotation). `algorithms` are those that are believed.
    `plain`: tokens that an existing backend signs are taken without `typ`, `jti` and our `iss`.
    Person and role stand in the claims named, in our own tokens too.
    """

    secrets: tuple[str, ...]
    issuer: str
    audience: str | None = None
    algorithms: tuple[Algorithm, ...] = ("HS256",)
    plain: bool = False
    subject_claim: str = "sub"
    role_claim: str = "role"


class UnknownKey(HubError):
    """No public key at hand has the name a token gives: a set that was fetched anew may have it."""

    def __init__(self) -> None:
        super().__init__(Code.UNAUTHENTICATED)


@lru_cache(maxsize=16)
def kid_of(secret: str) -> str:
    """The name of a secret in our headers; it tells no more of it than a signature does."""
    return _base64url(hmac.digest(secret.encode(), b"kid", "sha256")[:6])


# --- signing -------------------------------------------------------------------------------------


def sign_access(
    keys: TokenKeys, user_id: str, role: Role, *, now: datetime, ttl_s: float, jti: str
) -> str:
    claims = {keys.subject_claim: user_id, keys.role_claim: role, "typ": "access"}
    return _sign(keys, claims, now, ttl_s, jti)


def sign_refresh(
    keys: TokenKeys,
    user_id: str,
    family: str,
    *,
    now: datetime,
    ttl_s: float,
    jti: str,
    role: Role = "user",
) -> str:
    """`role`: of the access tokens it may be changed for."""
    claims = {"sub": user_id, "role": role, "fam": family, "typ": "refresh"}
    return _sign(keys, claims, now, ttl_s, jti)


def sign_service(keys: TokenKeys, token: ServiceToken, *, now: datetime, ttl_s: float) -> str:
    """For a part of a service, in place of its key."""
    claims: dict[str, Any] = {"sub": token.client_id, "typ": "service"}
    if token.scopes is not None:
        claims["scope"] = " ".join(sorted(token.scopes))  # RFC 8693 §4.2
    if token.room_prefixes is not None:
        claims["rooms"] = list(token.room_prefixes)
    if token.event_types is not None:
        claims["events"] = sorted(token.event_types)
    return _sign(keys, claims, now, ttl_s, token.jti)


def _sign(keys: TokenKeys, claims: dict[str, Any], now: datetime, ttl_s: float, jti: str) -> str:
    at = now.timestamp()
    claims |= {"iat": at, "exp": at + ttl_s, "jti": jti, "iss": keys.issuer}
    if keys.audience:
        claims["aud"] = keys.audience
    payload = json.dumps(claims, separators=(",", ":")).encode()
    secret = keys.secrets[0]
    return _JWS.encode(payload, secret, algorithm="HS256", headers={"kid": kid_of(secret)})


# --- reading -------------------------------------------------------------------------------------


def read_access(
    keys: TokenKeys, text: object, *, now: datetime, public: Sequence[PublicKey] = ()
) -> Token:
    """Verify an access token, with our secrets or the `public` keys of another service.

    Raises HubError UNAUTHENTICATED for anything malformed or forged and before `nbf` (UnknownKey
    where other public keys might help), TOKEN_EXPIRED past `exp`. Times are finite numbers
    (RFC 7519 §2, NumericDate).
    The caller compares `issued_at` and `jti` with what was revoked (S5-44), `issued_at` with its
    fraction, or a login in the second of a revocation would be cut.
    """
    claims = _verified(keys, text, keys.algorithms, public)
    if not keys.plain and claims.get("iss") != keys.issuer:
        raise HubError(Code.UNAUTHENTICATED)
    try:
        _check_audience(keys, claims)
        token = _token(keys, claims)
        not_before = _numeric_date(claims.get("nbf", 0))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise HubError(Code.UNAUTHENTICATED) from None
    _check_times(token.issued_at, token.expires_at, not_before, now.timestamp())
    if token.expires_at - token.issued_at > LONGEST_LIFE_S:
        raise HubError(Code.UNAUTHENTICATED)
    return token


def read_refresh(keys: TokenKeys, text: object, *, now: datetime) -> RefreshToken:
    """Verify a refresh token, which is always ours. Raises as `read_access` does."""
    claims = _verified(keys, text, ("HS256",), ())
    try:
        _check_audience(keys, claims)
        if (claims["iss"], claims["typ"]) != (keys.issuer, "refresh"):
            raise ValueError
        token = RefreshToken(
            user_id=_name(claims["sub"], 128),
            role="admin" if claims["role"] == "admin" else "user",
            jti=UUID(claims["jti"]),
            family=UUID(claims["fam"]),
            expires_at=_numeric_date(claims["exp"]),
        )
        issued_at = _numeric_date(claims["iat"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise HubError(Code.UNAUTHENTICATED) from None
    _check_times(issued_at, token.expires_at, 0, now.timestamp())
    return token


def is_service_token(text: str) -> bool:
    """Whether it says so of itself: that chooses who reads it, and proves nothing."""
    try:
        claims = json.loads(_bytes(text[:MOST_CHARS].split(".")[1]))
        return isinstance(claims, dict) and claims.get("typ") == "service"
    except (ValueError, IndexError, RecursionError):
        return False


def read_service(keys: TokenKeys, text: object, *, now: datetime) -> ServiceToken:
    """Verify a service token, which is always ours. Raises as `read_access` does."""
    claims = _verified(keys, text, ("HS256",), ())
    try:
        _check_audience(keys, claims)
        if (claims["iss"], claims["typ"]) != (keys.issuer, "service"):
            raise ValueError
        scope = claims.get("scope")
        token = ServiceToken(
            client_id=_name(claims["sub"], 128),
            jti=_name(claims["jti"], 256),
            scopes=None if scope is None else frozenset(scope.split()),
            room_prefixes=_texts(claims["rooms"]) if "rooms" in claims else None,
            event_types=frozenset(_texts(claims["events"])) if "events" in claims else None,
        )
        issued_at, ends_at = _numeric_date(claims["iat"]), _numeric_date(claims["exp"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise HubError(Code.UNAUTHENTICATED) from None
    _check_times(issued_at, ends_at, 0, now.timestamp())
    return token


def _texts(told: object) -> tuple[str, ...]:
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        raise TypeError
    return tuple(told)


def _token(keys: TokenKeys, claims: dict[str, Any]) -> Token:
    """Raises KeyError, TypeError, ValueError and OverflowError for claims of another form."""
    typ = claims.get("typ", "access") if keys.plain else claims["typ"]
    if typ != "access":
        raise ValueError
    subject = claims[keys.subject_claim]
    if keys.plain and type(subject) is int:
        subject = str(subject)
    return Token(
        user_id=_name(subject, 128),
        role=_role(keys, claims.get(keys.role_claim)),
        jti=_name(claims["jti"], 256) if "jti" in claims or not keys.plain else "",
        issued_at=_numeric_date(claims["iat"]),
        expires_at=_numeric_date(claims["exp"]),
    )


def _role(keys: TokenKeys, told: object) -> Role:
    """Raises ValueError for one of our own tokens whose role is none."""
    if keys.plain:
        return "admin" if isinstance(told, str) and told.lower() == "admin" else "user"
    if told == "admin":
        return "admin"
    if told != "user":
        raise ValueError
    return "user"


def _check_audience(keys: TokenKeys, claims: dict[str, Any]) -> None:
    """RFC 7519 §4.1.3: one name, or a list with ours in it."""
    told = claims.get("aud")
    if keys.audience and keys.audience not in (told if isinstance(told, list) else (told,)):
        raise ValueError


def _check_times(issued_at: float, expires_at: float, not_before: float, now: float) -> None:
    if not_before > now + SKEW_S:  # RFC 7519 §4.1.5
        raise HubError(Code.UNAUTHENTICATED)
    if expires_at <= now:
        raise HubError(Code.TOKEN_EXPIRED)
    if issued_at > now + SKEW_S:  # a revocation by time would never reach it
        raise HubError(Code.UNAUTHENTICATED)


def _numeric_date(value: object) -> float:
    """Raises TypeError for what is no number, ValueError or OverflowError for one without end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    at = float(value)
    if not isfinite(at):
        raise ValueError
    return at


def _name(value: object, most: int) -> str:
    """Names go into keys of Redis and rows of PostgreSQL. Raises ValueError."""
    if not isinstance(value, str) or not 0 < len(value) <= most or not is_plain(value):
        raise ValueError
    return value


def _verified(
    keys: TokenKeys, text: object, algorithms: Sequence[str], public: Sequence[PublicKey]
) -> dict[str, Any]:
    """The claims of a token that one of our keys has signed."""
    if not isinstance(text, str) or not 0 < len(text) <= MOST_CHARS:
        raise HubError(Code.UNAUTHENTICATED)
    signed, _, seal = text.rpartition(".")
    head, _, payload = signed.partition(".")
    try:
        algorithm, kid = _head(head)
        if algorithm in algorithms:
            message, signature = signed.encode("ascii"), _bytes(seal)
            for key in _candidates(keys, public, algorithm, kid):
                if _CHECKS[algorithm].verify(message, key, signature):
                    claims = json.loads(_bytes(payload))
                    if isinstance(claims, dict):
                        return claims
    except (ValueError, RecursionError):
        pass
    raise HubError(Code.UNAUTHENTICATED)


@lru_cache(maxsize=64)
def _head(segment: str) -> tuple[str, str | None]:
    """Algorithm and key name of a header, which tokens of one service share. Keys and addresses of
    keys that a header may hold (`jwk`, `jku`, `x5u`, RFC 7515 §4.1) are never looked at.

    Raises ValueError and RecursionError, also for a header that must be understood by more than
    this (`crit`, §4.1.11).
    """
    header = json.loads(_bytes(segment))
    if not isinstance(header, dict) or "crit" in header:
        raise ValueError
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise ValueError
    return algorithm, None if kid is None else _name(kid, MOST_KID)


def _candidates(
    keys: TokenKeys, public: Sequence[PublicKey], algorithm: str, kid: str | None
) -> Sequence[bytes | PublicMaterial]:
    """The keys of this algorithm that have this name, or all of them for a token that names none.
    Raises UnknownKey."""
    if algorithm == "HS256":
        return [one.encode() for one in keys.secrets if kid in (None, kid_of(one))]
    found = [
        key.material for key in public if key.algorithm == algorithm and kid in (None, key.kid)
    ]
    if not found:
        raise UnknownKey
    return found


# --- what a page proves beside its cookie --------------------------------------------------------


def csrf_token(keys: TokenKeys, family: UUID) -> str:
    """What a page of ours sends beside the refresh cookie of this login (S5-09): bound to it, so
    that nobody's token fits another login, and never kept."""
    return _csrf(keys.secrets[0], family)


def is_csrf_token(keys: TokenKeys, family: UUID, told: str) -> bool:
    given = told.encode(errors="replace")
    return any(hmac.compare_digest(_csrf(one, family).encode(), given) for one in keys.secrets)


def _csrf(secret: str, family: UUID) -> str:
    return _base64url(hmac.digest(secret.encode(), b"csrf " + family.bytes, "sha256"))


def _bytes(text: str) -> bytes:
    """Of base64url without padding (RFC 7515 §2). Raises ValueError."""
    return b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def hash_secret(secret: str) -> bytes:
    """SHA-256: the secrets are 32 random bytes, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()


def same_hash(left: bytes, right: bytes) -> bool:
    return hmac.compare_digest(left, right)
